"""What trackers show of a run, as a function of its journal: the same rows, however they come, give the same figures.

The rows of one table come in the order in which they are on record; of how those of two tables lie between each other
nothing is on record, so nothing here depends on it. A mean over trials is therefore one over trials in the order in
which they were planned, and waits for each of them. A run that was killed and continued is told the same that an
undisturbed one with its journal is.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import fmean
from typing import Any, NamedTuple

from seal_ray.record.continual import CONTINUAL, ELSEWHERE, way_of
from seal_ray.record.intervals import Interval
from seal_ray.record.rows import OutcomeRow, PlannedRow, PolicyRow, SelfEditRow, SkillRow, SpanRow
from seal_ray.record.summary import version_of

_UNUSUAL = re.compile(r"[^\w .-]+")
"""What some trackers do not take in a name."""
_OCTAVE = 16
"""A curve over trials has so many points between one number of trials and its double, and its last at the end."""


class Figure(NamedTuple):
    """One point of one curve; a name has each step once."""

    name: str
    step: int
    value: float


@dataclass
class _Mean:
    """The trials of one place, as planned; those before the first that has not ended are counted."""

    planned: deque[str] = field(default_factory=deque)
    count: int = 0
    total: float = 0.0


class Figures:
    """Turns rows, in batches by table, into figures; a row that comes twice counts once."""

    COLUMNS: Mapping[str, tuple[str, ...]] = {
        PlannedRow.TABLE: ("key", "stage", "arm", "task_id", "trial", "policy"),
        SkillRow.TABLE: ("key",),
        OutcomeRow.TABLE: ("key", "reward", "failure", "tokens"),
        SelfEditRow.TABLE: ("key", "tokens"),
        PolicyRow.TABLE: ("key", "version", "rank", "kept", "losses"),
        SpanRow.TABLE: ("key", "what", "start", "end"),
    }
    """What is read of which table, in the order in which the tables of one batch are taken."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {table: set() for table in self.COLUMNS}
        self._ended: dict[str, tuple[float, bool]] = {}
        """By trial, its reward and whether it failed."""
        self._wanted: set[str] = set()
        """The trials that some place of the run wants."""
        self._means: dict[str, _Mean] = defaultdict(_Mean)
        self._waiting: dict[str, list[str]] = defaultdict(list)
        """The places that wait for a trial."""
        self._arms: dict[tuple[int, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        """Held-out trials by task, for each policy and arm that is being measured."""
        self._sums: Counter[str] = Counter()
        self._between: dict[str, tuple[int, float]] = {}
        """The last point of each curve, where it is not one of those that are told."""
        self._busy: list[Interval] = []
        """When trials were on, apart from each other, and so many seconds in all."""
        self._seconds = 0.0

    def of(self, batch: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[Figure]:
        """The figures that these further rows bring."""
        take = {
            PlannedRow.TABLE: self._planned,
            SkillRow.TABLE: lambda row, found: None,  # that there is one says what outcomes may be
            OutcomeRow.TABLE: self._outcome,
            SelfEditRow.TABLE: self._self_edit,
            PolicyRow.TABLE: self._policy,
            SpanRow.TABLE: self._span,
        }
        found: list[Figure] = []
        for table in self.COLUMNS:
            seen = self._seen[table]
            for row in batch.get(table, ()):
                if row["key"] not in seen:
                    seen.add(row["key"])
                    take[table](row, found)
        return found

    def measured(self, version: int) -> list[Figure]:
        """The held-out accuracies under a version of the policy, all of whose measurements are on record."""
        return self._accuracies([key for key in self._arms if key[0] == version])

    def ended(self) -> list[Figure]:
        """What is left where no row will follow: a trial that was planned and never done is waited for no more."""
        found = self._accuracies([*self._arms])
        for name, mean in self._means.items():
            mean.planned = deque(trial for trial in mean.planned if trial in self._ended)
            self._advance(name, mean, found)
        last, self._between = self._between, {}
        return [*found, *(Figure(name, *point) for name, point in last.items())]

    def _planned(self, row: Mapping[str, Any], found: list[Figure]) -> None:
        self._wanted.add(row["trial"])
        held_out = row["stage"] == "evaluation"
        if held_out:
            self._arms[row["policy"], row["arm"]][row["task_id"]].append(row["trial"])
        arm = row["arm"] if held_out else way_of(row["arm"]) if row["stage"] in (CONTINUAL, ELSEWHERE) else ""
        name = f"reward/{_plain(row['stage'])}" + (f"/{_plain(arm)}" if arm else "")
        mean = self._means[name]
        mean.planned.append(row["trial"])
        if len(mean.planned) == 1:  # of more, the first is being waited for
            self._advance(name, mean, found)

    def _outcome(self, row: Mapping[str, Any], found: list[Figure]) -> None:
        if self._seen[SkillRow.TABLE] and row["reward"] is not None and row["key"] not in self._wanted:
            return  # a skill's answers, as in `record.methods.of_trials`: a trial is planned before it is done
        self._ended[row["key"]] = row["reward"] or 0.0, bool(row["failure"])
        trials = len(self._ended)
        self._point("tokens/trained", trials, self._sum("tokens/trained", row["tokens"]), trials, found)
        if row["failure"]:
            name = f"failures/{_plain(row['failure'])}"
            self._point(name, trials, failed := self._sum(name, 1), failed, found)
        for name in self._waiting.pop(row["key"], ()):
            self._advance(name, self._means[name], found)

    def _self_edit(self, row: Mapping[str, Any], found: list[Figure]) -> None:
        written = len(self._seen[SelfEditRow.TABLE])
        self._point("tokens/written", written, self._sum("tokens/written", row["tokens"]), written, found)

    def _policy(self, row: Mapping[str, Any], found: list[Figure]) -> None:
        version = row["version"]
        found += [Figure(f"update {version}/loss", step, loss) for step, loss in enumerate(row["losses"] or ())]
        found += [Figure("policy/rank", version, row["rank"]), Figure("policy/kept", version, row["kept"])]

    def _span(self, row: Mapping[str, Any], found: list[Figure]) -> None:
        """Trials a second, in the time in which at least one was on. Spans come as they end."""
        if row["what"] != "trial":
            return
        start, end = row["start"], row["end"]
        while self._busy and self._busy[-1][1] >= start:
            before = self._busy.pop()
            self._seconds -= before[1] - before[0]
            start, end = min(start, before[0]), max(end, before[1])
        self._busy.append((start, end))
        self._seconds += end - start
        trials = self._sum("trials", 1)
        if self._seconds > 0:
            self._point("trials per second", trials, trials / self._seconds, trials, found)

    def _advance(self, name: str, mean: _Mean, found: list[Figure]) -> None:
        while mean.planned and mean.planned[0] in self._ended:
            mean.count += 1
            mean.total += self._ended[mean.planned.popleft()][0]
            self._point(name, mean.count, mean.total / mean.count, mean.count, found)
        if mean.planned:
            self._waiting[mean.planned[0]].append(name)

    def _accuracies(self, arms: Iterable[tuple[int, str]]) -> list[Figure]:
        """As in the run's table: a task counts with the mean of its trials, and where all failed nothing is said."""
        found = []
        for version, arm in arms:
            planned = self._arms.pop((version, arm)).values()
            tasks = [ended for trials in planned if (ended := [self._ended[t] for t in trials if t in self._ended])]
            if any(not failed for trials in tasks for _, failed in trials):
                name = _plain(arm) if version_of(arm) is None else "self-edits"
                accuracy = fmean(fmean(reward for reward, _ in trials) for trials in tasks)
                found.append(Figure(f"held-out accuracy/{name}", version, accuracy))
        return found

    def _sum(self, name: str, more: int) -> int:
        self._sums[name] += more
        return self._sums[name]

    def _point(self, name: str, step: int, value: float, number: int, found: list[Figure]) -> None:
        """The point of that number of a curve that has one for every row, where it is one of those that are told."""
        if number % (1 << max(0, number.bit_length() - _OCTAVE.bit_length())):
            self._between[name] = step, value
        else:
            self._between.pop(name, None)
            found.append(Figure(name, step, value))


@lru_cache
def _plain(text: str) -> str:
    return _UNUSUAL.sub("", text).strip(" .") or "unnamed"
