"""What came of taking a lesson out of a continual sequence, as it is on record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from seal_ray.continual.base import Keeps, keeps_of
from seal_ray.policy.lineage import sequence_head
from seal_ray.record.continual import CONTINUAL, ELSEWHERE, Asked, arm_of
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow, OutcomeRow, PlannedRow, RetractedRow

RETRACTION = "retraction"
"""The stage in which all passages are asked without a lesson."""
RETRACTION_ELSEWHERE = f"{RETRACTION}, known before"

Answers = Mapping[tuple[str, str], Mapping[int, Asked]]
"""By stage and arm the answers to each task, by its place there."""


@dataclass(frozen=True)
class Passage:
    """A passage of the order: its accuracy before anything was learnt, at the end, and without what was taken out."""

    number: int
    task_id: str
    out: bool
    base: float
    learnt: float
    without: float


@dataclass(frozen=True)
class Retraction:
    """What came of taking lessons out of a sequence."""

    head: str
    """The policy without them."""
    keeps: Keeps
    passages: tuple[Passage, ...]
    known_before: tuple[float, float] | None
    """The accuracy on what the base knew by itself, with the lessons and without; None where that was not asked."""
    error: float
    """The norm of what compression lost over the norm of the whole."""

    @property
    def others_keep(self) -> float | None:
        """How much of their accuracy the other passages have still; None where they had none."""
        others = [each for each in self.passages if not each.out]
        had = sum(each.learnt for each in others)
        return sum(each.without for each in others) / had if had else None


def retracted(journal: Journal, way: str, sequence: int) -> list[RetractedRow]:
    """What was taken out of a sequence, the earliest first."""
    mine = (row for row in journal.read(RetractedRow) if (row.way, row.sequence) == (way, sequence))
    return sorted(mine, key=lambda row: row.version)


def of_each_sequence(journal: Journal) -> list[Retraction]:
    """What the sequences came to of which lessons are out: each without all of these."""
    last = {(row.way, row.sequence): row for row in sorted(journal.read(RetractedRow), key=lambda row: row.version)}
    asked = answers(journal) if last else {}
    return [retraction(journal, row, asked) for row in last.values()]


def steps_of(journal: Journal, way: str, sequence: int) -> list[LearntRow]:
    """The passages that were learnt in a sequence, in their order."""
    mine = (row for row in journal.read(LearntRow) if (row.way, row.sequence) == (way, sequence))
    return sorted(mine, key=lambda row: row.step)


def answers(journal: Journal) -> Answers:
    """All that was asked and answered."""
    ended = {row.key: row for row in journal.read(OutcomeRow)}
    found: dict[tuple[str, str], dict[int, Asked]] = defaultdict(lambda: defaultdict(Asked))
    for place in journal.read(PlannedRow):
        if place.trial in ended:
            found[place.stage, place.arm][place.index].add(ended[place.trial])
    return found


def retraction(journal: Journal, row: RetractedRow, asked: Answers) -> Retraction:
    """What the record says of it, of whose answers these are all."""
    whole, head = sequence_head(row.sequence, row.way), sequence_head(row.sequence, row.way, row.out)
    begun = asked[CONTINUAL, arm_of(whole, 0)]
    end = arm_of(whole, len(begun))
    learnt, now = asked[CONTINUAL, end], asked[RETRACTION, head]
    ids = {each.step: each.task_id for each in steps_of(journal, row.way, row.sequence)}
    passages = (
        Passage(n + 1, ids.get(n + 1, ""), n + 1 in row.out, *(each[n].accuracy for each in (begun, learnt, now)))
        for n in sorted(begun)
    )
    then, since = (asked.get(at, {}).values() for at in ((ELSEWHERE, end), (RETRACTION_ELSEWHERE, head)))
    known = (fmean(a.accuracy for a in then), fmean(a.accuracy for a in since)) if then and since else None
    return Retraction(head, keeps_of(row.way), tuple(passages), known, row.error)
