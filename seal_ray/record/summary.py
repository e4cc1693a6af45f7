"""What a run resulted in: held-out accuracy per arm, with intervals, from its journal alone."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seal_ray.plain import broken, one_line, visible
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, QuestionRow
from seal_ray.types import UserError, derive_seed

UNTRAINED = "untrained self-edits"
"""The arm of the policy before its first round: of the base, or of what a warm start has made of it."""

LEARNT = "learnt, version "
"""How an arm is called, before the version's number, that has learnt documents; the base stands before it."""

FEWEST = 6
"""With fewer tasks or orders there is no interval of differences or means over them: that all lie to one side happens
by chance more often than once in 20."""
_RESAMPLES = 2000
_DOUBTFUL = 0.1
_ADVICE = (
    "Such a figure says how the model takes its prompts, more than what it knows: `seal-ray doctor CONFIG` asks the "
    "base, domain.options.chat says how it is asked, and trial.answer_tokens how long it may answer."
)


def policy_arm(version: int) -> str:
    """The arm of the policy of this version."""
    return f"after round {version}" if version else UNTRAINED


def version_of(arm: str) -> int | None:
    """The version of the policy that an arm is of; None for a baseline."""
    after = re.fullmatch(r"after round (\d+)", arm)
    return int(after[1]) if after else 0 if arm == UNTRAINED else None


@dataclass(frozen=True)
class Interval:
    """A mean over tasks with its 95 % bootstrap interval; no numbers where every trial failed."""

    accuracy: float
    low: float
    high: float
    n: int
    """How many held-out tasks there are, each counting with the mean of its trials."""
    synthetic: int = 0
    """How many of those have questions that a model wrote."""
    failed: float = 0.0
    """Share of the trials that failed. Each counts as 0, unless all did: then nothing was measured."""
    reason: str = ""
    """Why most of those failed."""
    empty: float = 0.0
    """Share of the answers that hold nothing."""
    cut: float | None = None
    """Share of those that were cut off at `trial.answer_tokens`; None where no record says so."""
    forgotten: float | None = None
    """What a trial cost of what was known before, in nats a token; None where that was not asked."""

    @property
    def void(self) -> bool:
        return self.failed == 1.0

    @property
    def doubt(self) -> str:
        """A warning where more than a tenth of the answers are empty or cut off; else empty."""
        if self.empty + (self.cut or 0.0) <= _DOUBTFUL:
            return ""
        cut = f"{self.cut:.1%} cut off" if self.cut is not None else "of how many were cut off there is no record"
        return f"{self.empty:.1%} of its answers are empty, {cut}"


@dataclass
class Measured:
    """The trials of one arm that have ended."""

    rewards: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """The rewards of each task's trials; 0 for a failed one."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why trials failed, and how many for each reason."""
    forgotten: list[float] = field(default_factory=list)
    """What each cost of what was known before, where that was asked."""

    answers: int = 0
    empty: int = 0
    noted: int = 0
    """Answers of which it is on record whether they were cut off."""
    cut: int = 0

    def add_answers(self, answers: Sequence[str], cut: Sequence[bool]) -> None:
        self.answers += len(answers)
        self.empty += sum(not answer.strip() for answer in answers)
        self.noted += len(cut)
        self.cut += sum(cut)

    @property
    def of_task(self) -> dict[str, float]:
        return {task: float(np.mean(values)) for task, values in self.rewards.items()}


def summarize(*journals: Journal) -> dict[str, Interval]:
    """Per arm of the evaluation, in the order they were begun; the tasks of several runs are taken together.

    Runs of several seeds have tasks of their own where the domain makes them, and some or all in common where it draws
    them from files. A task that several runs have measured counts once: its measurements go together.
    """
    return together([measured(journal) for journal in journals], [synthetic(journal) for journal in journals])


def together(runs: Sequence[Mapping[str, Measured]], written: Sequence[set[str]]) -> dict[str, Interval]:
    """The arms of several runs, of each of which it is known which tasks have questions that a model wrote."""
    arms: dict[str, list[Measured]] = defaultdict(list)
    with_written: dict[str, set[str]] = defaultdict(set)
    for run, by_a_model in zip(runs, written, strict=True):
        for arm, found in run.items():
            arms[arm].append(found)
            with_written[arm] |= by_a_model & found.rewards.keys()
    return {arm: figure(found, len(with_written[arm])) for arm, found in arms.items()}


def synthetic(journal: Journal) -> set[str]:
    """The tasks whose questions a model wrote."""
    return {row.task_id for row in journal.read(QuestionRow)}


def measured(journal: Journal, regraded: Mapping[str, float] | None = None) -> dict[str, Measured]:
    """The trials of each arm of the evaluation that have ended; `regraded` has other rewards of theirs, by trial."""
    rewards = regraded or {}
    planned = _of_the_last_version([row for row in journal.read(PlannedRow) if row.stage == "evaluation"])
    wanted = {row.trial for row in planned}
    ended = {row.key: row for row in journal.read(OutcomeRow) if row.key in wanted}
    found: dict[str, Measured] = defaultdict(Measured)
    for row in planned:
        if outcome := ended.get(row.trial):
            arm = found[row.arm]
            arm.rewards[row.task_id].append(rewards.get(row.trial, outcome.reward or 0.0))
            arm.add_answers(outcome.answers, outcome.cut)
            arm.forgotten += [] if outcome.forgotten is None else [outcome.forgotten]
            if outcome.failure:
                arm.reasons[str(outcome.reason).removeprefix(f"{row.task_id}: ")] += 1
    return dict(found)


def _of_the_last_version(planned: list[PlannedRow]) -> list[PlannedRow]:
    """Where documents were learnt again, without the versions before, and without passages that are no longer there."""
    versions = [row.arm for row in planned if row.arm.startswith(LEARNT)]
    if not versions:
        return planned
    last = max(versions, key=lambda arm: int(arm.removeprefix(LEARNT)))
    asked = {row.task_id for row in planned if row.arm == last}
    return [row for row in planned if row.task_id in asked and (row.arm == last or row.arm not in versions)]


def figure(parts: Sequence[Measured], with_written: int = 0) -> Interval:
    """One arm of one or several runs as a figure."""
    rewards = by_task((task, each) for part in parts for task, trials in part.rewards.items() for each in trials)
    reasons = sum((part.reasons for part in parts), Counter[str]())
    failed = reasons.total() / sum(len(found) for part in parts for found in part.rewards.values())
    found = interval(rewards) if failed < 1 else Interval(math.nan, math.nan, math.nan, len(rewards))
    ((reason, _),) = reasons.most_common(1) or [("", 0)]
    answers, noted = sum(part.answers for part in parts), sum(part.noted for part in parts)
    empty = sum(part.empty for part in parts) / max(1, answers)
    cut = sum(part.cut for part in parts) / noted if noted else None
    costs = [cost for part in parts for cost in part.forgotten]
    forgotten = float(np.mean(costs)) if costs else None
    return replace(
        found, synthetic=with_written, failed=failed, reason=reason, empty=empty, cut=cut, forgotten=forgotten
    )


def by_task(values: Iterable[tuple[str, float]]) -> list[float]:
    """The mean of each task's values, of whatever runs they are."""
    of_task: dict[str, list[float]] = defaultdict(list)
    for task, value in values:
        of_task[task].append(value)
    return [float(np.mean(found)) for found in of_task.values()]


def refuse_void(summary: dict[str, Interval]) -> None:
    """A figure behind which every trial failed is an error, and no measurement of 0."""
    void = [f"{arm!r}: all its trials failed: {one_line(m.reason)}" for arm, m in summary.items() if m.void]
    if void:
        raise UserError("; ".join(void))


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval, resampling tasks, since the questions of one task go together."""
    data = np.asarray(sorted(values))
    return Interval(float(data.mean()), *between(data[resampled(len(data))].mean(axis=1)), len(data))


def resampled(count: int) -> NDArray[np.int64]:
    """The places of so many tasks, drawn with replacement again and again: a row each time, and the same each time."""
    rng = np.random.default_rng(derive_seed("bootstrap", count))
    return rng.integers(count, size=(_RESAMPLES, count))


def between(figures: NDArray[np.float64]) -> tuple[float, float]:
    """The bounds of 95 % of the figures of resampled tasks."""
    low, high = np.quantile(figures, (0.025, 0.975))
    return float(low), float(high)


def as_json(summary: dict[str, Interval]) -> dict[str, Any]:
    """Numbers to four digits; null where nothing was measured."""

    def plain(value: Any) -> Any:
        return value if not isinstance(value, float) else None if math.isnan(value) else round(value, 4)

    found = {arm: {k: plain(v) for k, v in asdict(measured).items()} for arm, measured in summary.items()}
    for figures in found.values():
        if figures["forgotten"] is None:  # only a reward with memory asks for it
            del figures["forgotten"]
    return found


def cells(m: Interval) -> tuple[str, str, str, str]:
    """A figure as words: mean, interval, over how many tasks, and the share of failed trials.

    With fewer than `FEWEST` tasks there is no interval: that of one task is as wide as a point.
    """
    tasks = f"{m.n}, {m.synthetic} with synthetic questions" if m.synthetic else str(m.n)
    if m.void:
        return "failed", "–", tasks, "all"
    failed = f"{m.failed:.1%}" if m.failed else "none"
    between = f"{m.low:.1%} – {m.high:.1%}" if m.n >= FEWEST else "too few tasks"
    return f"{m.accuracy:.1%}{' (!)' if m.doubt else ''}", between, tasks, failed


def print_table(summary: dict[str, Interval]) -> None:
    """The arms on standard output, as a table a person can read and a log can hold."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    asked = any(m.forgotten is not None for m in summary.values())
    more = ["forgotten, nats a token"] if asked else []
    table = Table("held-out accuracy", "mean", "95 % interval", "tasks", "failed trials", *more)
    for arm, m in summary.items():
        cost = ["–" if m.forgotten is None else f"{m.forgotten:.2f}"] if asked else []
        table.add_row(escape(visible(arm)), *cells(m), *cost)
    Console().print(table)
    for arm, m in summary.items():
        if m.failed and not m.void:
            share = f"{m.failed:.1%} of its trials failed and count as 0, most of them: {one_line(m.reason)}"
            print(visible(f"{arm}: {share}"))
    for line in doubts(summary):
        print("\n".join(broken(line)))


def doubts(summary: dict[str, Interval]) -> list[str]:
    """A line for each arm whose figure is marked: few of its answers are any, so it says little of what was known."""
    lines = [f"(!) {arm}: {m.doubt}" for arm, m in summary.items() if m.doubt]
    return [*lines, _ADVICE] if lines else []
