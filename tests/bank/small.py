"""The tiny models and the reference that `make gpu-check` holds the bank to as well, by their name in these tests."""

from benchmarks.reference import (
    ALL,
    CONFIGS,
    SHAPE,
    WORDS,
    divergence,
    make_model,
    make_prompts,
    make_texts,
    make_tokenizer,
    mean_loss,
    padded,
    peft_tensors,
    recipes,
    train_alone,
)

__all__ = [
    "ALL",
    "CONFIGS",
    "SHAPE",
    "WORDS",
    "divergence",
    "make_model",
    "make_prompts",
    "make_texts",
    "make_tokenizer",
    "mean_loss",
    "padded",
    "peft_tensors",
    "recipes",
    "train_alone",
]
