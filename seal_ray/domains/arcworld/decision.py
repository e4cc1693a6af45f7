"""The self-edit of the grid world: six words that say how to train on a puzzle's demonstrations.

turns=off recolour=on copies=4 loss=all lr=1e-2 epochs=2
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from seal_ray.types import DataError

CHOICES: dict[str, tuple[str, ...]] = {
    "turns": ("off", "on"),
    "recolour": ("off", "on"),
    "copies": ("4", "8", "12"),
    "loss": ("all", "outputs"),
    "lr": ("1e-4", "5e-3", "7e-3", "1e-2"),
    "epochs": ("1", "2", "3"),
}


@dataclass(frozen=True)
class Decision:
    turns: bool
    """Each training puzzle is turned or mirrored at random."""
    recolour: bool
    """Each training puzzle has its colours permuted at random."""
    copies: int
    """How often each demonstration is held back as the puzzle, drawn again every time."""
    loss_on_all: bool
    lr: float
    epochs: int


def words() -> list[str]:
    return [f"{name}={value}" for name, values in CHOICES.items() for value in values]


def parse(text: str) -> Decision:
    """Six words in their order; `DataError` says which is wrong."""
    found = text.split()
    if len(found) != len(CHOICES):
        raise DataError(f"self-edit: {len(found)} words, expected {len(CHOICES)}: {' '.join(CHOICES)}")
    values = {}
    for word, (name, allowed) in zip(found, CHOICES.items(), strict=True):
        key, _, value = word.partition("=")
        if key != name or value not in allowed:
            raise DataError(f"self-edit: {word!r} where {name}= should be one of {', '.join(allowed)}")
        values[name] = value
    return Decision(
        turns=values["turns"] == "on",
        recolour=values["recolour"] == "on",
        copies=int(values["copies"]),
        loss_on_all=values["loss"] == "all",
        lr=float(values["lr"]),
        epochs=int(values["epochs"]),
    )


def candidates() -> Iterator[str]:
    """All 288 decisions."""
    for values in itertools.product(*CHOICES.values()):
        yield " ".join(f"{name}={value}" for name, value in zip(CHOICES, values, strict=True))


def grid() -> Iterator[str]:
    """The 36 decisions that a ceiling is looked for among: outputs alone, three epochs, a rate that teaches."""
    unlikely = ("loss=all", "lr=1e-4", "epochs=1", "epochs=2")
    return (text for text in candidates() if not any(word in text.split() for word in unlikely))


def draw(rng: random.Random) -> str:
    return " ".join(f"{name}={rng.choice(values)}" for name, values in CHOICES.items())
