"""A passage trained on top of a skill: to answer from what was trained on, learnt once on other passages.

The skill is what reinforcement learning adds to a model that has read passages (PaST, arXiv 2601.11258): the model is
trained on some, asked about them with the passages out of sight, and moved towards the answers that were right. What
that added is kept without the passages, and is there for all that are read later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seal_ray.config import Update
from seal_ray.methods.unwritten import Passage
from seal_ray.types import Example, FinetuneSpec, ObjectiveSpec, Prompt

PARTS, UPDATES, ANSWERS = 4, 3, 8
"""Groups of training passages, each read on top of what the ones before taught; updates on each; and answers to each
question before an update."""
_BATCH, _CLIP = 64, 0.2
"""Answers in a step, each of which is learnt from once; how far a token's probability may move, as a share."""
_EQUAL = 1e-9


class Past(Passage):
    """The passage itself is trained on, on top of the skill."""

    by_skill = True


@dataclass(frozen=True)
class Answered:
    """An answer that was sampled, and how right it is."""

    prompt: Prompt
    said: str
    verdict: float


def skill_update(asked: Sequence[Sequence[Answered]], settings: Update, seed: int) -> FinetuneSpec | None:
    """Away from what was worse than a question's other answers, towards what was better; None where all were alike.

    `asked` has the answers to each question. An answer's advantage is its verdict less the mean of them, as in GRPO
    without the division by their deviation. An answer's end is not to be judged: its words alone are moved.
    """
    examples = [
        Example(each.said, each.prompt, whole=False, weight=gain)
        for answers in asked
        for each, gain in zip(answers, _gains([answer.verdict for answer in answers]), strict=True)
        if each.said and abs(gain) > _EQUAL
    ]
    if not examples:
        return None
    optim = replace(settings.optim, epochs=1, batch_size=_BATCH)
    objective = ObjectiveSpec("policy gradient", {"clip": _CLIP})
    return FinetuneSpec(tuple(examples), settings.lora, optim, seed, objective=objective)


def _gains(verdicts: Sequence[float]) -> list[float]:
    mean = sum(verdicts) / len(verdicts)
    return [verdict - mean for verdict in verdicts]
