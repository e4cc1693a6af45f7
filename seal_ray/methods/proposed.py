"""Texts about what was proposed first: ways to study the passage, or pairs of what it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

from seal_ray.methods.base import Desk, Piece
from seal_ray.methods.written import Rephrase
from seal_ray.types import Task, derive_seed

_MARK = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s*")
_LONGEST, _MOST = 300, 60
"""Characters of a proposal that is passed on, and proposals: a base that goes on and on says nothing new."""


class ActiveReading(Rephrase):
    """The model proposes how the passage may be studied, and then does so (arXiv 2508.09494)."""

    method = "active-reading"

    async def written(self, task: Task, texts: int, desk: Desk) -> Sequence[Piece]:
        first, then = desk.domain.styles(self.method)
        (proposed,) = await desk.write_each([(desk.domain.in_style(first), 0)], task)
        topics = self.topics(task, lines_of(proposed.edit.completion)) or [task.title]
        styles = [desk.domain.in_style(then, about) for about in topics]
        asked = [(styles[n % len(styles)], n // len(styles)) for n in range(texts)]
        return [Piece(proposed.edit, ()), *await desk.write_each(asked, task)]

    def topics(self, task: Task, lines: Sequence[str]) -> list[str]:
        """What is written about, of what was proposed."""
        return list(lines)


class EntiGraph(ActiveReading):
    """Every two of the things that the passage names, and how they hang together (arXiv 2409.07431)."""

    method = "entigraph"

    def topics(self, task: Task, lines: Sequence[str]) -> list[str]:
        pairs = [f"{one}; {other}" for one, other in combinations(lines, 2)]
        return sorted(pairs, key=lambda pair: derive_seed(task.id, pair)) or list(lines)


def lines_of(completion: str) -> list[str]:
    """The lines of a list, without what numbers them, each once."""
    found = (_MARK.sub("", line).strip()[:_LONGEST] for line in completion.splitlines())
    return list(dict.fromkeys(line for line in found if line))[:_MOST]
