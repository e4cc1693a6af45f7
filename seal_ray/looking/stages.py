"""How far a run is: its stages with what is done of how much, from its config and what is on record.

A stage's size is what the config asks of the tasks that were drawn. Where tasks may turn out fewer, it is the most that
it can be; where nothing says how many there are, none is given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from seal_ray.domains.registry import learns
from seal_ray.events import progress_name
from seal_ray.looking.seen import Seen
from seal_ray.methods.base import arms_of
from seal_ray.record.continual import CONTINUAL, ELSEWHERE, trials_of
from seal_ray.record.methods import TRIALS
from seal_ray.record.rows import PlannedRow
from seal_ray.record.summary import UNTRAINED, policy_arm
from seal_ray.record.written import SCREENING
from seal_ray.types import UserError
from seal_ray.update.base import tries_self_edits, updates
from seal_ray.update.warm_start import WARM_START

Kind = Literal["sample", "trial", "update"]


@dataclass(frozen=True)
class Stage:
    """A part of a run, by the name that its progress has."""

    name: str
    kind: Kind
    done: int
    total: int | None
    """None where nothing says how many there will be."""
    at_most: bool = False
    """Whether it may end with fewer."""
    reward: float | None = None
    """The mean reward of its trials so far, a failed one worth 0."""
    begun: bool = False

    @property
    def left(self) -> int:
        return max(0, (self.total or 0) - self.done)


@dataclass(frozen=True)
class Count:
    """So many tasks, or at most so many; None: not known."""

    tasks: int | None
    at_most: bool = False

    def times(self, each: int) -> tuple[int | None, bool]:
        return (None if self.tasks is None else self.tasks * each), self.at_most


def stages(seen: Seen) -> list[Stage]:
    """Every stage of a run, in their order; those that the config does not tell of come as they were met."""
    trials: dict[str, list[PlannedRow]] = defaultdict(list)
    for row in seen.planned:
        trials[progress_name(row.stage, row.arm)].append(row)
    expected = [] if learns(seen.config) else list(_expected(seen))
    found = {each[0]: _stage(seen, trials, *each) for each in expected}
    more = {name: rows for name, rows in trials.items() if name not in found}
    others = {name: _of_trials(seen, name, rows, len(rows), False) for name, rows in more.items()}
    early = {name: stage for name, stage in others.items() if name.startswith(SCREENING)}
    return list((early | found | others).values())


def is_whole(seen: Seen) -> bool | None:
    """Whether all that the run is to do is on record; None where its record cannot say."""
    config = seen.config
    if learns(config):
        return seen.learnt and not seen.pending
    if seen.tunes:
        return None if seen.found is None else bool(seen.found)
    found = {stage.name: stage for stage in stages(seen)}
    rounds, last = config.run.rounds, f"evaluation: {policy_arm(config.run.rounds if updates(config) else 0)}"
    if seen.pending or len(rounds_over(seen)) < rounds:
        return False
    if not _turns_are_over(seen) or ((methods := found.get(TRIALS)) and methods.left):
        return False
    if methods and methods.total is None:
        return None
    if last not in found:  # nothing is measured last
        return bool(seen.planned) or not config.evaluation.baselines
    stage = found[last]
    if not stage.done or (stage.left and not stage.at_most):
        return False
    return None if stage.total is None or stage.left else True


def rounds_over(seen: Seen) -> set[int]:
    """The rounds whose update is done; where there is none, those of which all that is to be written was tried."""
    rounds = set(range(1, seen.config.run.rounds + 1))
    if updates(seen.config):
        return seen.versions & rounds
    parts = {stage.name: stage for stage in stages(seen)}
    mine = {n: [part for name, part in parts.items() if name.startswith(f"round {n}: ")] for n in rounds}
    return {n for n, found in mine.items() if all(part.done and (part.at_most or not part.left) for part in found)}


def _turns_are_over(seen: Seen) -> bool:
    """Whether all passages that come in turn were asked as often as is wanted, in every way; questions may be shared
    out, so that a passage has several trials."""
    wanted = trials_of(seen.config.continual, 1)
    for stage in (CONTINUAL, ELSEWHERE):
        rows = [row for row in seen.planned if row.stage == stage]
        tasks = len({row.index for row in rows}) if stage == ELSEWHERE else 1
        if len({(row.arm, row.index) for row in rows}) < wanted.get(f"{stage}: trials", 0) * tasks:
            return False
    return True


Expected = tuple[str, Kind, int | None, bool]
"""A stage's name and kind, how much it is to be, and whether that is the most."""


def _expected(seen: Seen) -> Iterator[Expected]:
    config, held = seen.config, _held_out(seen)
    evaluation, rounds = config.evaluation, config.run.rounds
    if config.update.warm_start:
        yield f"{WARM_START}: update", "update", 1, False
    for version in range(rounds + 1):
        for name in evaluation.baselines if version == 0 else ():
            yield f"evaluation: {name}", "trial", *held.times(evaluation.seeds)
        after, last = (version, rounds) if updates(config) else (0, 0)
        if evaluation.samples and after == version and (evaluation.every_round or version == last):
            each = evaluation.seeds * (1 if evaluation.joint else evaluation.samples)
            yield f"evaluation: {policy_arm(version)}", "trial", *held.times(each)
        if version < rounds:
            yield from _round(seen, version + 1)
    if evaluation.methods:
        arms = _arms(seen)
        yield TRIALS, "trial", *(Count(None) if arms is None else held).times((arms or 0) * evaluation.seeds)
    for stage, pieces in trials_of(config.continual, 0).items():
        yield stage, "trial", pieces, False


def _round(seen: Seen, number: int) -> Iterator[Expected]:
    config, stage, drawn = seen.config, f"round {number}", _drawn(seen, number)
    per_task, over = config.sampling.per_task, number in seen.versions
    written = sum(row.stage == stage for row in seen.edits)
    yield f"{stage}: self-edits", "sample", *((written, False) if over else drawn.times(per_task))
    if _tries(seen):
        race = config.selection.race
        spared = bool(race) or (number > 1 and config.selection.foresee > 0)
        total, at_most = drawn.times(race or per_task * config.trial.seeds)
        planned = sum(row.stage == stage for row in seen.planned)
        yield f"{stage}: trials", "trial", *((planned, False) if over else (total, at_most or spared))
    if updates(config):
        yield f"{stage}: update", "update", 1, False


def _stage(
    seen: Seen, trials: dict[str, list[PlannedRow]], name: str, kind: Kind, total: int | None, at_most: bool
) -> Stage:
    stage = name.partition(":")[0]
    if kind == "sample":
        done = sum(row.stage == stage for row in seen.edits)
        return Stage(name, kind, done, total, at_most, begun=bool(done))
    if kind == "update":
        number = 0 if stage == WARM_START else int(stage.split()[-1])
        chosen, done = any(row.stage == stage for row in seen.kept), number in {row.version for row in seen.policies}
        return Stage(name, kind, int(done), 1, begun=chosen or done)
    return _of_trials(seen, name, trials.get(name, []), total, at_most)


def _of_trials(seen: Seen, name: str, rows: list[PlannedRow], total: int | None, at_most: bool) -> Stage:
    """A stage of trials; those of a baseline are planned at once, for the tasks that have it."""
    ended = [seen.outcomes[row.trial].reward or 0.0 for row in rows if row.trial in seen.outcomes]
    baseline = name.partition(": ")[2] in seen.config.evaluation.baselines
    if rows and baseline:
        total, at_most = len(rows), False
    reward = fmean(ended) if ended else None
    return Stage(name, "trial", len(ended), total, at_most, reward, begun=bool(rows))


def _tries(seen: Seen) -> bool:
    """Whether self-edits of the rounds are tried; a rule of one's own need not be importable here."""
    try:
        return tries_self_edits(seen.config)
    except UserError:
        return True


def _arms(seen: Seen) -> int | None:
    """How often each task is measured by a method; None where one of one's own is not importable here."""
    try:
        return len(arms_of(seen.config.evaluation))
    except UserError:
        return None


def _drawn(seen: Seen, number: int) -> Count:
    """The training tasks of a round: those that were asked without training are all of them, at most."""
    config, by_policy = seen.config, defaultdict(set)
    for row in seen.planned:
        if row.stage == SCREENING:
            by_policy[row.policy].add(row.task_id)
    same_each_round = not config.domain.fresh and (config.trial.start == "base" or not updates(config))
    asked = by_policy.get(number - 1) or (by_policy.get(0) if same_each_round else None)
    if asked:
        return Count(len(asked), config.domain.skip_solved)
    return Count(config.domain.train or None, bool(seen.questions) or config.domain.skip_solved)


def _held_out(seen: Seen) -> Count:
    """The held-out tasks. Those of a baseline are planned at once, and those of the untrained arm before any update."""
    evaluation, by_arm = seen.config.evaluation, defaultdict(set)
    for row in seen.planned:
        if row.stage == "evaluation":
            by_arm[row.arm].add(row.task_id)
    whole = [*evaluation.baselines, *([UNTRAINED] if seen.versions else [])]
    if known := max((len(by_arm[arm]) for arm in whole), default=0):
        return Count(known)
    return Count(seen.config.domain.test or None, bool(seen.questions))
