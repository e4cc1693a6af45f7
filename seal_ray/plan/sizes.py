"""How large a piece of work is, in the tokens and steps that its time follows from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_ray.config import Config
from seal_ray.model.counting import counter
from seal_ray.types import Example, FinetuneSpec, OptimSpec, Prompt, Trial

REFERENCE = 4 / 3
"""What a text costs that also goes forward once to be compared with, where learning alone is forward and back."""
COMPARED = 3
"""How often a statement is read of a trial with a reference: for its likelihood, and under either to be compared."""
ALL_WEIGHTS = 1.5
"""What a token costs that trains all weights, where one that trains an adapter costs 1."""


@dataclass(frozen=True)
class TrialSize:
    """A trial: its training steps, the tokens over all of them, and the questions asked after."""

    steps: int = 0
    tokens: float = 0.0
    rows: int = 0
    prompt: float = 0.0
    """Tokens of a question."""
    answer: int = 0


@dataclass(frozen=True)
class TextSize:
    """A text that is written."""

    prompt: float
    tokens: float


class Sizes:
    """Measures with the model's own tokenizer, where that is here; each thing once."""

    def __init__(self, config: Config) -> None:
        self._longest = config.model.max_length
        self._count, self.note = counter(config.model.path)
        self._prompts: dict[Prompt, float] = {}
        self._texts: dict[int, tuple[Sequence[Example], list[float]]] = {}

    def prompt(self, prompt: Prompt) -> float:
        if prompt not in self._prompts:
            self._prompts[prompt] = self._count(prompt)
        return self._prompts[prompt]

    def trial(self, trial: Trial) -> TrialSize:
        steps, tokens = 0, 0.0
        if recipe := trial.recipe:
            steps, tokens = _training(self._lengths(recipe.examples), recipe.optim)
            tokens *= 1.0 if recipe.lora else ALL_WEIGHTS
            tokens += self._held(recipe.anchors, recipe.optim, steps)
        asked = self._lengths(trial.statements) * (COMPARED if trial.reference is not None else 1)
        asked += map(self.prompt, trial.questions)
        answer = round(trial.max_answer_tokens * len(trial.questions) / max(1, len(asked)))
        return TrialSize(steps, tokens, len(asked), fmean(asked or [0.0]), answer)

    def update(self, finetune: FinetuneSpec) -> TrialSize:
        """All of an update; what it is held near to, and what a preference is measured by, is read once more."""
        steps, tokens = _training(self._lengths(finetune.examples), finetune.optim)
        tokens *= REFERENCE if finetune.objective else 1.0
        return TrialSize(steps, tokens + self._held(finetune.anchor_examples, finetune.optim, steps))

    def _held(self, near: Sequence[Example], optim: OptimSpec, steps: int) -> float:
        """Tokens of what is held near to what it was, a batch of it beside each step."""
        return steps * min(optim.batch_size, len(near)) * fmean(self._lengths(near)) * REFERENCE if near else 0.0

    def _lengths(self, examples: Sequence[Example]) -> list[float]:
        """What is learnt of each; a text too long for the model is cut."""
        if id(examples) not in self._texts:
            found = [min(self._count(e.prompt) + self._count(e.completion), self._longest) for e in examples]
            self._texts[id(examples)] = examples, found  # held on to, or another could come to have its place
        return self._texts[id(examples)][1]


def _training(lengths: Sequence[float], optim: OptimSpec) -> tuple[int, float]:
    return optim.steps(len(lengths)), optim.epochs * sum(lengths)
