"""Runs side by side, of one config or of several: what differs, what each came to, and by how much, task by task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from seal_ray.looking.beside import AT_THE_END, by_method, in_turn
from seal_ray.looking.seen import Seen, look
from seal_ray.record.answers import last_arm
from seal_ray.record.differences import Difference, difference
from seal_ray.record.intervals import total_length
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.record.summary import Interval, Measured, figure, measured, synthetic, version_of
from seal_ray.report.rounds import Round, mean_of, rounds
from seal_ray.rundir.directory import CONFIG, Recorded, but_the_seed, recorded
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
class Rewards:
    """What the trials of a round came to."""

    number: int
    written: int
    trials: int
    pending: int
    failed: int
    kept: int
    mean: float | None
    kept_mean: float | None

    @classmethod
    def of(cls, number: int, runs: Sequence[Round]) -> Rewards:
        """Of the same round of one run, or of several."""
        sums = {
            name: sum(getattr(run, name) for run in runs) for name in ("written", "trials", "pending", "failed", "kept")
        }
        every = [candidate for run in runs for candidate in run.candidates]
        kept = [candidate.reward for candidate in every if candidate.kept]
        return cls(number, **sums, mean=mean_of(candidate.reward for candidate in every), kept_mean=mean_of(kept))


@dataclass(frozen=True)
class Compared:
    """One of several runs; or runs of one config, whose seeds are taken together."""

    places: tuple[str, ...]
    name: str
    differs: tuple[str, ...]
    """Its settings that are not the first one's, a line each."""
    arms: Figures
    """By baseline and round."""
    by_name: bool
    """Whether tasks of a name need not be the same as the first one's."""
    alone: bool
    """Whether it has no seed in common with the first one, so that no task can be held to itself."""
    methods: Figures
    """By method and number of texts."""
    in_turn: Figures
    """By way, what was kept of the passages at the end."""
    rounds: tuple[Rewards, ...]
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
    def seed(self) -> int:
        return self.recorded.config.run.seed

    @property
    def last(self) -> str:
        """The arm of the last policy that was measured; empty where none was."""
        arms = [arm for arm in self.arms if version_of(arm)]
        return last_arm(arms) if arms else ""

    @property
    def pending(self) -> Counter[str]:
        """Trials of an arm that were planned and have not ended."""
        seen = self.seen
        return Counter(row.arm for row in seen.planned if row.stage == "evaluation" and row.trial not in seen.outcomes)

    @cached_property
    def rounds(self) -> tuple[Round, ...]:
        seen = self.seen
        return rounds(seen.planned, seen.outcomes, seen.edits, seen.kept, seen.policies)

    @property
    def seconds(self) -> float | None:
        spans = self.seen.spans
        return total_length((row.start, row.end) for row in spans) if spans else None


_Group = Sequence[_Read]
_Pairs = Sequence[tuple[_Read, _Read]]


def compare(directories: Sequence[str], seeds: bool = False) -> list[Compared]:
    """The runs in the order given, each held to the first; with `seeds`, all of one config as one."""
    if len(directories) < 2:
        raise UserError("one run has nothing to be compared with; give two directories or more")
    groups = list[list[_Read]]()
    for each in map(_read, directories):
        like = next((group for group in groups if seeds and not but_the_seed(_differs(each, group[0]))), None)
        if like is None:
            groups.append([each])
        elif twice := next((run for run in like if run.seed == each.seed), None):
            raise UserError(
                f"{twice.place} and {each.place} are the same run, seed {each.seed}, which would count twice; give one"
            )
        else:
            like.append(each)
    if len(groups) < 2:
        raise UserError("--seeds: all of these are one config; `seal-ray eval` shows what they come to together")
    return [_compared(group, groups[0], seeds) for group in groups]


def _read(directory: str) -> _Read:
    store = Store(directory)
    found = recorded(store)
    if found is None:
        raise UserError(f"{directory}: no run is here ({CONFIG} is missing)")
    refuse_tuned(directory, found.config)
    journal = Journal(store)
    arms = measured(journal), by_method(journal), in_turn(journal)[AT_THE_END]
    return _Read(directory, found, look(store), *arms, synthetic(journal))


def _compared(runs: _Group, first: _Group, seeds: bool) -> Compared:
    pairs = [(one, other) for one in runs for other in first if one.seed == other.seed or not seeds]
    one, other = pairs[0] if pairs else (runs[0], first[0])
    differs = but_the_seed(_differs(one, other)) if seeds else _differs(one, other)
    written = ["model."] if any(run.written for run in runs) else []
    pairs = [] if runs is first else pairs
    arms = _figures(runs, pairs, lambda run: run.arms)
    numbers = sorted({round_.number for run in runs for round_ in run.rounds})
    seconds = [run.seconds for run in runs]
    config, named = one.seen.config, "seeds" if len(runs) > 1 else "seed"
    return Compared(
        tuple(run.place for run in runs),
        f"{config.run.name}, {named} {', '.join(str(run.seed) for run in runs)}",
        tuple(differs),
        Figures(
            arms.measured,
            {**arms.paired, **_last(pairs)},
            sum((run.pending for run in runs), Counter()),
        ),
        any(line.startswith((*_WHAT_TASKS_ARE, *written)) for line in differs),
        runs is not first and not pairs,
        _figures(runs, pairs, lambda run: run.methods),
        _figures(runs, pairs, lambda run: run.in_turn),
        tuple(Rewards.of(n, [each for run in runs for each in run.rounds if each.number == n]) for n in numbers),
        sum(len(run.seen.outcomes) for run in runs),
        sum((Counter(run.seen.failures) for run in runs), Counter()),
        None if None in seconds else sum(each for each in seconds if each is not None),
    )


def _figures(runs: _Group, pairs: _Pairs, of: Callable[[_Read], Mapping[str, Measured]]) -> Figures:
    """Accuracies over the tasks of all of these runs, and the differences of each pair of runs that has both."""
    measured, paired = dict[str, Interval](), dict[str, Difference]()
    for name in dict.fromkeys(chain.from_iterable(map(of, runs))):
        have = [run for run in runs if name in of(run)]
        written = set[str]().union(*(run.written & of(run)[name].rewards.keys() for run in have))
        measured[name] = figure([of(run)[name] for run in have], len(written))
        if both := [(of(one)[name], of(other)[name]) for one, other in pairs if name in of(one) and name in of(other)]:
            paired[name] = difference(*both)
    return Figures(measured, paired)


def _last(pairs: _Pairs) -> dict[str, Difference]:
    """Between the last policies, where these are of different rounds."""
    both = [(one, other) for one, other in pairs if one.last and other.last]
    if all(one.last == other.last for one, other in both):
        return {}
    return {LAST: difference(*((one.arms[one.last], other.arms[other.last]) for one, other in both))}


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
