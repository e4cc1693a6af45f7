"""Sentences of two documents that seem to contradict each other.

No model is asked, and nothing is decided: both are taught, and whoever gave the documents is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seal_ray.domains.knowledge.clashing import Said, pairs
from seal_ray.domains.knowledge.sentences import sentences
from seal_ray.learning.documents import rows_of
from seal_ray.plain import counted

_SHOWN = 5
"""Pairs that are told of one by one."""


def clashes(file: Path) -> list[tuple[Said, Said]]:
    """The pairs among these passages, in their order, each once."""
    return pairs([Said(row["source"], said) for row in rows_of(file) for said in sentences(row["context"])])


def told(found: Sequence[tuple[Said, Said]]) -> list[str]:
    """A line for each of the first few, and one for how many more there are."""
    lines = [
        f"{one}, and {other}: both are taught; if only one is true, take out the other" for one, other in found[:_SHOWN]
    ]
    more = len(found) - _SHOWN
    return [*lines, f"{counted(more, 'more pair')} of sentences differ so"] if more > 0 else lines
