"""Rates and habits of an earlier run, out of its journal: what took how long, while who else was at work."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from statistics import fmean, median
from typing import TypeVar

import numpy as np

from seal_ray.config import Config
from seal_ray.machine import cores
from seal_ray.plan.rates import Rates
from seal_ray.plan.standin import Seen
from seal_ray.plan.workers import AT_ONCE
from seal_ray.record.intervals import merge
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow, SkillRow, SpanRow
from seal_ray.record.storage import Store
from seal_ray.record.written import SCREENING
from seal_ray.types import Outcome, UserError

_Result = TypeVar("_Result")
TOGETHER = 0.15
"""Share of the usual time between two batches within which the results of one batch reach the driver."""
START = 15.0
"""Seconds until a worker is up, where the journal does not show it."""


@dataclass(frozen=True)
class Observed:
    """A stretch of one worker's time: the seconds of work that it was, and what was done in it."""

    seconds: float
    work: tuple[float, ...]
    first: bool = False
    """This worker's first: what it still had to set up is in it."""


@dataclass(frozen=True)
class Measured:
    rates: Rates
    seen: Seen
    trainer: tuple[Observed, ...]
    """Work: training steps, tokens trained, steps of asking, tokens answered."""
    sampler: tuple[Observed, ...]
    """Work: steps, tokens sampled."""


def measure(directory: str, config: Config) -> Measured:
    """What the run in a directory, of this config, says about how long things take."""
    journal = Journal(Store(directory))
    spans = list(journal.read(SpanRow))
    ended = list(journal.read(OutcomeRow))
    outcomes = [row for row in ended if row.worker]
    edits = [row for row in journal.read(SelfEditRow) if row.worker]
    if not any(row.steps for row in outcomes):
        raise UserError(f"{directory}: no trial that trained is in this journal; nothing to measure")
    if not spans:
        why = "what it did was done by 0.1.0, which did not write down when workers were busy"
        raise UserError(f"{directory}: {why}; nothing to measure; give a run of this version")
    if not edits and any(span.what == "sample" for span in spans):
        raise UserError(f"{directory}: samplers wrote no self-edits here, only questions or answers; give another run")
    if any(journal.read(SkillRow)):
        raise UserError(f"{directory}: samplers wrote a skill's answers among self-edits here; give a run without one")
    time = Time(spans, 0 if config.workers.gpus_per_trainer else cores())
    trainer = tuple(trainer_stretches(spans, outcomes, time, config.workers.slots, config.trial.answer_tokens))
    places = None if config.sampling.engine == "vllm" else AT_ONCE
    sampler = tuple(sampler_stretches(spans, edits, time, places))
    rates = rates_of(trainer, sampler, _start(directory, spans), _handover(spans))
    return Measured(rates, _seen(list(journal.read(PlannedRow)), ended, edits), trainer, sampler)


def rates_of(trainer: Sequence[Observed], sampler: Sequence[Observed], start: float, policy: float) -> Rates:
    """The rates that explain what was observed. A question's prompt is counted in with its answer."""
    step, token, ask_step, ask_row = fit(trainer)
    sample_step, sample_row = fit(sampler) if sampler else (0.0, 0.0)
    warming = [o.seconds - predicted([step, token, ask_step, ask_row], o) for o in trainer if o.first]
    return Rates(
        train_step=step,
        train_token=token,
        train_slot=0.0,
        ask_step=ask_step,
        ask_row=ask_row,
        ask_token=0.0,
        sample_step=sample_step,
        sample_row=sample_row,
        sample_token=0.0,
        start=start + max(0.0, median(warming or [0.0])),
        policy=policy,
    )


def predicted(rates: Sequence[float], observed: Observed) -> float:
    return sum(rate * done for rate, done in zip(rates, observed.work, strict=True))


def fit(observed: Sequence[Observed]) -> list[float]:
    """Seconds per piece of each kind of work, none below zero, long stretches trusted in proportion to their length."""
    usual = [o for o in observed if not o.first]
    if len(usual) < len(observed[0].work):
        usual = list(observed)
    seconds = np.array([o.seconds for o in usual])
    work = np.array([o.work for o in usual])
    weight = 1 / np.sqrt(np.maximum(seconds, 1e-3))
    return non_negative(work * weight[:, None], seconds * weight)


def non_negative(matrix: np.ndarray, target: np.ndarray, rounds: int = 2000) -> list[float]:
    """Least squares without negative coefficients, one coefficient at a time."""
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    gram, aim = (matrix / scale).T @ (matrix / scale), (matrix / scale).T @ target
    found = np.zeros(len(aim))
    for _ in range(rounds):
        for k in range(len(found)):
            if gram[k, k]:
                found[k] = max(0.0, found[k] + (aim[k] - gram[k] @ found) / gram[k, k])
    return [float(value) for value in found / scale]


class Time:
    """Turns a stretch of wall time into seconds of work: workers that share cores slow each other down."""

    def __init__(self, spans: Sequence[SpanRow], cores: int) -> None:
        self.busy = {worker: merge((span.start, span.end) for span in own) for worker, own in _by_worker(spans).items()}
        changes: Counter[float] = Counter()
        for periods in self.busy.values():
            for start, end in periods:
                changes[start] += 1
                changes[end] -= 1
        self._times = sorted(changes)
        active = np.cumsum([changes[time] for time in self._times])
        speed = np.minimum(1.0, cores / np.maximum(active, 1)) if cores else np.ones(len(active))
        self._done = np.concatenate([[0.0], np.cumsum(speed[:-1] * np.diff(self._times))])
        self._speed = speed

    def work(self, start: float, end: float) -> float:
        return self._at(end) - self._at(start)

    def _at(self, time: float) -> float:
        index = max(0, bisect_left(self._times, time) - 1)
        return float(self._done[index] + (time - self._times[index]) * self._speed[index])


def trainer_stretches(
    spans: Sequence[SpanRow], outcomes: Sequence[OutcomeRow], time: Time, slots: int, answer: int
) -> Iterator[Observed]:
    """Between one batch of results and the next, on each trainer."""
    for worker, own in _by_worker(span for span in spans if span.what == "trial").items():
        rows = list(zip(own, (row for row in outcomes if row.worker == worker), strict=False))
        for number, (start, end, batch) in enumerate(_stretches(rows, time.busy[worker])):
            yield Observed(time.work(start, end), work_of(batch, slots, answer), not number)


def work_of(outcomes: Sequence[Outcome | OutcomeRow], slots: int, answer: int) -> tuple[float, float, float, float]:
    """What a batch of outcomes was: training steps, tokens trained, steps of asking, tokens answered."""
    trained = [outcome for outcome in outcomes if outcome.steps]
    steps = sum(outcome.steps for outcome in trained) / max(1, min(slots, len(trained)))
    asked = sum(len(outcome.answers) for outcome in outcomes)
    batches = math.ceil(len(outcomes) / slots)
    return steps, sum(outcome.tokens for outcome in trained), batches * (answer + 1), asked * answer


def sampler_stretches(
    spans: Sequence[SpanRow], edits: Sequence[SelfEditRow], time: Time, places: int | None
) -> Iterator[Observed]:
    """Between some results and the next, on each sampler, which writes so many texts at once, or all it is given."""
    for worker, own in _by_worker(span for span in spans if span.what == "sample").items():
        done = [row for row in edits if row.worker == worker]
        rows = list(zip(own, done, strict=False))
        if not rows:  # it wrote questions alone
            continue
        course = _Writing([(span.start, span.end, row.tokens) for span, row in rows], places)
        for number, (start, end, _) in enumerate(_stretches(rows, time.busy[worker])):
            yield Observed(time.work(start, end), course.work(start, end), not number)


class _Writing:
    """How many steps a sampler had made at each result: so many as the text had tokens since it had a place."""

    def __init__(self, texts: Sequence[tuple[float, float, int]], places: int | None) -> None:
        """Of each text, when it was asked for and done, and its tokens."""
        places_taken: list[float] = []
        since = dict[int, float]()
        for number, (asked, end, _) in sorted(enumerate(texts), key=lambda each: each[1]):
            free = places is None or len(places_taken) < places
            since[number] = asked if free else max(asked, heappop(places_taken))
            heappush(places_taken, end)
        self._times, self._steps, held = [min(since.values())], [0.0], list[tuple[float, float]]()
        for number, (_, end, tokens) in sorted(enumerate(texts), key=lambda each: each[1][1]):
            begun = self._at(since[number])
            held.append((begun, max(self._steps[-1], begun + tokens + 1)))  # its first step reads the prompt
            self._times.append(end)
            self._steps.append(held[-1][1])
        self._begun, self._done = np.array(held).T

    def work(self, start: float, end: float) -> tuple[float, float]:
        """Steps from one time to another, and tokens of all texts."""
        before, after = self._at(start), self._at(end)
        written = np.minimum(self._done, after) - np.maximum(self._begun, before)
        return after - before, float(np.maximum(written, 0.0).sum())

    def _at(self, time: float) -> float:
        return self._steps[max(0, bisect_right(self._times, time) - 1)]


def _stretches(
    rows: Sequence[tuple[SpanRow, _Result]], busy: Sequence[tuple[float, float]]
) -> Iterator[tuple[float, float, list[_Result]]]:
    """Batches of results with the time from the batch before, or from when the worker got something to do."""
    rows = sorted(rows, key=lambda row: row[0].end)
    gaps = [b[0].end - a[0].end for a, b in pairwise(rows)]
    apart = TOGETHER * median([gap for gap in gaps if gap > 0.05] or [1.0])
    cuts = [0, *(i for i, gap in enumerate(gaps, 1) if gap > apart), len(rows)]
    before = float("-inf")
    for first, last in pairwise(cuts):
        batch = rows[first:last]
        if not batch:
            continue
        end = batch[-1][0].end
        began, _ = busy[bisect_right(busy, end, key=lambda period: period[0]) - 1]
        start, before = max(before, began), end
        yield start, end, [found for _, found in batch]


def _by_worker(spans: Iterable[SpanRow]) -> dict[str, list[SpanRow]]:
    found: dict[str, list[SpanRow]] = defaultdict(list)
    for span in spans:
        found[span.worker].append(span)
    return found


def _start(directory: str, spans: Sequence[SpanRow]) -> float:
    """From the claim of the directory to the first call that a worker was given, where files say when that was."""
    local = Store(directory).local
    claimed = (local / "config.json").stat().st_mtime if local else 0.0
    seconds = min(span.start for span in spans) - claimed
    return seconds if 0 < seconds < 600 else START


def _handover(spans: Sequence[SpanRow]) -> float:
    """From the end of an update to the first call under the new policy."""
    gaps = []
    for update in (span for span in spans if span.what == "update"):
        later = [span.start for span in spans if span.start >= update.end]
        if later:
            gaps.append(min(later) - update.end)
    return min(gaps, default=1.0)


def _seen(planned: Sequence[PlannedRow], ended: Sequence[OutcomeRow], edits: Sequence[SelfEditRow]) -> Seen:
    # The arms of self-edits: those of the rounds, of the untrained policy, and of the later ones.
    tried = [row for row in planned if row.recipe and row.arm.startswith(("self-edits", "untrained", "after"))]
    twins = 1 - len({row.trial for row in tried}) / len(tried) if tried else 0.0
    rewards = {row.key: row.reward or 0.0 for row in ended}
    alone = {row.task_id: rewards.get(row.trial, 0.0) for row in planned if row.stage == SCREENING}
    of_edit: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
    for row in tried:
        if row.arm == "self-edits" and row.task_id in alone and row.trial in rewards:
            of_edit[row.stage, row.task_id, row.index].append(rewards[row.trial])
    taught = [fmean(own) > alone[task] for (_, task, _), own in of_edit.items()]
    return Seen(
        tuple((row.completion, row.tokens) for row in edits),
        twins,
        fmean(taught) if taught else None,
        fmean(reward == 1.0 for reward in alone.values()) if alone else 0.0,
    )
