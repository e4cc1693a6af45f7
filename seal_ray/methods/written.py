"""Texts written of the passage by prompts that are fixed: the policy's own, or styles in equal shares."""

from __future__ import annotations

from collections.abc import Sequence

from seal_ray.domains.base import Studied
from seal_ray.methods.base import Desk, Piece, Study, trained
from seal_ray.types import Task


class Untrained:
    """Self-edits as the base writes them, all of them trained on together."""

    writes = True
    trains = True
    by_policy = False

    def lacks(self, domain: Studied) -> str:
        return ""

    async def written(self, task: Task, texts: int, desk: Desk) -> Sequence[Piece]:
        return await desk.write_each([(desk.domain, index) for index in range(texts)], task)

    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        return trained(await self.written(task, texts, desk), desk.domain.text(task), task, desk.domain)


class Seal(Untrained):
    """Self-edits as the policy writes them that the rounds made."""

    by_policy = True


class Rephrase(Untrained):
    """The styles of its method in turn; here one, which writes the passage anew."""

    method = "rephrase"

    def lacks(self, domain: Studied) -> str:
        return "" if domain.styles(self.method) else "which has no style for it"

    async def written(self, task: Task, texts: int, desk: Desk) -> Sequence[Piece]:
        styles = [desk.domain.in_style(style) for style in desk.domain.styles(self.method)]
        return await desk.write_each([(styles[n % len(styles)], n // len(styles)) for n in range(texts)], task)


class Qa(Rephrase):
    """Questions with their answers."""

    method = "qa"


class Spa(Rephrase):
    """Synthetic data with prompts that are fixed, in equal shares (arXiv 2603.22213)."""

    method = "spa"
