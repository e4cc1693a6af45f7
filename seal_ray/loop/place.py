"""Where in a run a trial belongs, and what another run has on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, SelfEditRow
from seal_ray.types import Completion, SelfEdit

PASSAGE = "passage only"
"""What domains call the trial of a task's own text."""


@dataclass(frozen=True)
class Place:
    """The place of a trial in a run, which names its row in the journal."""

    stage: str
    arm: str
    task_id: str
    index: int = 0


@dataclass(frozen=True)
class Beside:
    """What another run has on record, by key. A key is made of all that its row depends on, but for who judged the
    answers: equal keys, equal rows, where those are judged alike."""

    self_edits: Mapping[str, SelfEditRow] = field(default_factory=dict)
    outcomes: Mapping[str, OutcomeRow] = field(default_factory=dict)
    judged_alike: bool = True

    @classmethod
    def of(cls, journal: Journal, judged_alike: bool) -> Beside:
        edits = {row.key: row for row in journal.read(SelfEditRow)}
        return cls(edits, {row.key: row for row in journal.read(OutcomeRow)}, judged_alike)


def filled(edit: SelfEdit, text: Completion) -> SelfEdit:
    """A self-edit with the text that was written for it."""
    return replace(
        edit,
        completion=text.text,
        tokens=text.tokens,
        finished=text.finished,
        refused=text.refused,
    )
