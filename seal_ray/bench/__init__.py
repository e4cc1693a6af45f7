"""How fast trials and rounds are, measured on the machine at hand.

    python -m seal_ray.bench.trials --shape llama-30m

`trials` needs torch, transformers and peft alone, so that it can be carried to a machine with nothing else on it;
`round` runs a config, and needs what a run needs.
"""
