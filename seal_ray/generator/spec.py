"""What a generator of adapters is trained on and how, and how far it has come. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from seal_ray.adapters.lora import Adapter
from seal_ray.types import Example, LoraSpec, OptimSpec, content_key

_BATCH = 8
"""Passages of one step."""
Text = tuple[Example, ...]
"""A passage, as the texts that its domain makes of it."""


@dataclass(frozen=True)
class Lesson:
    """A passage that a generator learns from."""

    text: Text
    answers: tuple[Example, ...] = ()
    """What is asked about it, with what is right; nothing where the generator learns from passages alone."""


@dataclass(frozen=True)
class GeneratorSpec:
    """A generator, by all that decides what comes of it but the base."""

    lessons: tuple[Lesson, ...]
    lora: LoraSpec
    """The shape of what it writes."""
    steps: int
    lr: float
    seed: int

    @property
    def optim(self) -> OptimSpec:
        """How it is trained: over all lessons as often as its steps need."""
        epochs = -(-self.steps // -(-len(self.lessons) // _BATCH))
        return OptimSpec(lr=self.lr, epochs=epochs, batch_size=_BATCH, warmup_steps=self.steps // 10)

    @property
    def key(self) -> str:
        return content_key("generator", self)


@dataclass(frozen=True)
class Trained:
    """How far a generator is: the loss of every step so far, and where these led."""

    losses: tuple[float, ...] = ()
    numbers: tuple[np.ndarray, ...] = field(default=(), repr=False)
    """Its weights with their two moments, each one array; nothing before the first step."""
    worker: str = ""


@dataclass(frozen=True)
class Written:
    """The adapters of some passages, in their order."""

    adapters: Sequence[Adapter]
    worker: str = ""
