"""The unit of work: a self-edit tried, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from seal_ray.types.content import ADDED, content_key
from seal_ray.types.errors import Failure
from seal_ray.types.policies import AdapterRef
from seal_ray.types.prompts import Prompt
from seal_ray.types.training import Example, Recipe


@dataclass(frozen=True)
class Trial:
    """The unit of work: train a fresh adapter on a recipe, then answer the questions, closed book.

    Its outcome depends on what is written here and on nothing else.
    """

    task_id: str
    base: AdapterRef
    """The adapter that lies under the trial's own."""
    recipe: Recipe | None
    """What is trained; None queries what lies below as it is."""
    seed: int
    questions: tuple[Prompt, ...]
    max_answer_tokens: int = 64
    stop: tuple[str, ...] = ()
    """Generation ends at the first of these; the stop text is not part of the answer."""
    statements: tuple[Example, ...] = ()
    """Texts whose log-likelihood under the adapted model is reported beside the answers."""
    reference: AdapterRef | None = field(default=None, metadata=ADDED)
    """The adapter that the adapted model's predictions of the statements are held against; None: they are not."""

    @property
    def key(self) -> str:
        return content_key("trial", self)

    @classmethod
    def reading(
        cls, name: str, base: AdapterRef, texts: Iterable[Example], reference: AdapterRef | None = None
    ) -> Self:
        """A trial that trains and asks nothing, and only measures how likely texts are under an adapter."""
        return cls(name, base, None, 0, (), max_answer_tokens=1, statements=tuple(texts), reference=reference)


@dataclass(frozen=True)
class Outcome:
    """What a trial resulted in. Workers fill in the answers; the driver grades them."""

    key: str
    answers: tuple[str, ...] = ()
    log_likelihoods: tuple[float, ...] = ()
    """Mean per-token log-likelihood of each statement."""
    verdicts: tuple[float, ...] = ()
    """One per question: 1 right, 0 wrong, or a probability between."""
    reward: float | None = None
    failure: Failure | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Of its trainer: its share, by tokens, of what was computed side by side."""
    worker: str = ""
    warnings: tuple[str, ...] = ()
    """What the user is to be told of it; said and not kept."""
    cut: tuple[bool, ...] = ()
    """Whether each answer was cut off at its longest; empty where that is not known, or is how answers end there."""
    forgotten: float | None = None
    """How much less likely what was known before has become, in nats a token; None where that was not asked."""
    divergences: tuple[float, ...] = ()
    """Mean per-token `KL(reference ‖ adapted)` over each statement, where the trial has a reference. Not on record."""
