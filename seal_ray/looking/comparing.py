"""Runs side by side, of one config or of several: what differs, what each came to, and by how much, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seal_ray.intervals import total_length
from seal_ray.looking.beside import by_method, in_turn
from seal_ray.looking.seen import Seen, look
from seal_ray.record.answers import last_arm
from seal_ray.record.differences import Difference, difference
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.record.summary import Interval, Measured, figure, measured, synthetic
from seal_ray.report.rounds import Round, rounds
from seal_ray.rundir.directory import CONFIG, Recorded, recorded
from seal_ray.rundir.tuned import refuse_tuned
from seal_ray.types import UserError

LAST = "last policy"
"""A difference between the last policies of two runs, whose rounds need not be as many."""
_WHAT_TASKS_ARE = ("domain.name", "domain.options", "run.seed", "questions.")
"""Settings on which it depends what the task of a name holds."""


@dataclass(frozen=True)
class Figures:
    """Accuracies by name, and where the first run has the name too, the differences to it."""

    measured: Mapping[str, Interval]
    paired: Mapping[str, Difference]
    pending: Mapping[str, int] = field(default_factory=dict)
    """Trials that were planned and have not ended."""


@dataclass(frozen=True)
class Compared:
    """One of several runs."""

    place: str
    name: str
    differs: tuple[str, ...]
    """Its settings that are not the first run's, a line each."""
    arms: Mapping[str, Interval]
    pending: Mapping[str, int]
    """Trials of an arm that were planned and have not ended."""
    paired: Mapping[str, Difference]
    """By arm, the differences to the first run."""
    by_name: bool
    """Whether tasks of a name need not be the same as the first run's."""
    methods: Figures
    """By method and number of texts."""
    in_turn: Figures
    """By way, what was kept of the passages at the end."""
    rounds: tuple[Round, ...]
    trials: int
    failures: Mapping[str, int]
    seconds: float | None
    """In which any worker had something to do; 0.1.0 did not write it down."""


@dataclass(frozen=True)
class _Read:
    place: str
    recorded: Recorded
    seen: Seen
    arms: Mapping[str, Measured]
    methods: Mapping[str, Measured]
    in_turn: Mapping[str, Measured]
    written: set[str]
    """Tasks whose questions a model wrote."""

    @property
    def last(self) -> str:
        """The arm of the last policy that was measured; empty where none was."""
        arms = [arm for arm in self.arms if arm.startswith("after round ")]
        return last_arm(arms) if arms else ""


def compare(directories: Sequence[str]) -> list[Compared]:
    """The runs in the order given, each held to the first."""
    if len(directories) < 2:
        raise UserError("one run has nothing to be compared with; give two directories or more")
    read = [_read(directory) for directory in directories]
    return [_compared(each, read[0]) for each in read]


def _read(directory: str) -> _Read:
    store = Store(directory)
    found = recorded(store)
    if found is None:
        raise UserError(f"{directory}: no run is here ({CONFIG} is missing)")
    refuse_tuned(directory, found.config)
    journal = Journal(store)
    arms = measured(journal), by_method(journal), in_turn(journal)
    return _Read(directory, found, look(store), *arms, synthetic(journal))


def _compared(one: _Read, first: _Read) -> Compared:
    seen, differs = one.seen, _differs(one, first)
    waiting = [row.arm for row in seen.planned if row.stage == "evaluation" and row.trial not in seen.outcomes]
    return Compared(
        one.place,
        f"{seen.config.run.name}, seed {seen.config.run.seed}",
        tuple(differs),
        _intervals(one, one.arms),
        {arm: waiting.count(arm) for arm in waiting},
        {} if one is first else _paired(one, first),
        any(line.startswith((*_WHAT_TASKS_ARE, *(["model."] if one.written else []))) for line in differs),
        _figures(one, first, one.methods, first.methods),
        _figures(one, first, one.in_turn, first.in_turn),
        rounds(seen.planned, seen.outcomes, seen.edits, seen.kept, seen.policies),
        len(seen.outcomes),
        dict(seen.failures),
        total_length((row.start, row.end) for row in seen.spans) if seen.spans else None,
    )


def _intervals(one: _Read, arms: Mapping[str, Measured]) -> dict[str, Interval]:
    return {arm: figure([found], len(one.written & found.rewards.keys())) for arm, found in arms.items()}


def _figures(one: _Read, first: _Read, mine: Mapping[str, Measured], others: Mapping[str, Measured]) -> Figures:
    both = {} if one is first else {name: (found, others[name]) for name, found in mine.items() if name in others}
    return Figures(_intervals(one, mine), {name: difference(pair) for name, pair in both.items()})


def _differs(one: _Read, first: _Read) -> list[str]:
    """Settings and contents that are not the first run's; 0.1.0 recorded no contents."""
    if one.recorded.whole or not first.recorded.whole:
        return first.recorded.unlike(one.recorded.identity)
    note = "what lies behind its paths is not on record (0.1.0)"
    swapped = one.recorded.unlike(first.recorded.identity)
    return [*(_swapped(line) for line in swapped), note]


def _swapped(line: str) -> str:
    name, _, values = line.partition(": ")
    before, _, after = values.partition(" -> ")
    return f"{name}: {after} -> {before}"


def _paired(one: _Read, first: _Read) -> dict[str, Difference]:
    """By arm that both have measured; and where their last policies are of different rounds, between these."""
    pairs = {arm: (found, first.arms[arm]) for arm, found in one.arms.items() if arm in first.arms}
    if one.last and first.last and one.last != first.last:
        pairs[LAST] = one.arms[one.last], first.arms[first.last]
    return {arm: difference(pair) for arm, pair in pairs.items()}
