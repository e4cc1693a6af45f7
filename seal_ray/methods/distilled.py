"""Texts trained to what the model predicts of them with the passage in sight, instead of to their words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seal_ray.domains.base import Studied
from seal_ray.methods.base import Desk, Piece, Study, trained
from seal_ray.methods.written import Qa, Untrained
from seal_ray.types import Example, ObjectiveSpec, Task

DISTILLED = ObjectiveSpec("distilled")


class _Distilled(Untrained):
    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        return distilled(await self.written(task, texts, desk), task, desk.domain)


class ContextDistillation(_Distilled):
    """On the base's own self-edits, and on the passage itself (arXiv 2601.19897, 2602.12275)."""


class OfQuestions(_Distilled, Qa):
    """On questions with answers."""


def distilled(pieces: Sequence[Piece], task: Task, domain: Studied) -> Study:
    """The study of these texts, each trained to what the base predicts of it with the passage in sight."""

    def taught(examples: Sequence[Example]) -> tuple[Example, ...]:
        """Each after those before it, as they were written; a reply after its question, asked about the text."""
        opened = (
            domain.in_sight(task, one.prompt) if one.prompt else domain.teacher(task, examples[:n])
            for n, one in enumerate(examples)
        )
        return tuple(replace(one, teacher=teacher) for one, teacher in zip(examples, opened, strict=True))

    taught_pieces = [replace(piece, examples=taught(piece.examples)) for piece in pieces]
    study = trained(taught_pieces, taught(domain.text(task)), task, domain)
    assert study.trial.recipe
    return replace(study, trial=replace(study.trial, recipe=replace(study.trial.recipe, objective=DISTILLED)))
