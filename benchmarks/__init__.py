"""How fast trials are, measured on the machine at hand.

    python -m benchmarks.trials --shape llama-30m

It starts neither Ray nor vLLM.
"""
