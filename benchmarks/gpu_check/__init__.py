"""One command that measures a card: whether the bank is right there, how fast it is, and the paper's experiment.

    python -m benchmarks.gpu_check --model SmolLM2-135M-Instruct --data dev-v1.1.json

It needs torch, transformers, peft, numpy, pyarrow and safetensors, and no network.
"""
