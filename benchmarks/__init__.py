"""What is measured on the machine at hand: how fast trials are, and what a choice is worth.

python -m benchmarks --help
python -m benchmarks trials --shape llama-30m
"""
