"""How fast trials are, measured on the machine at hand.

    python -m seal_ray.bench.trials --shape llama-30m

It starts neither Ray nor vLLM.
"""
