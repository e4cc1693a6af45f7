"""How long a round takes by the order in which its trials are given out, in steps that are counted.

Every slot takes a step while the base passes over the rows of all. A worker holds twice as many trials as it has
slots, as in a run; orders differ in what workers are given next, and in whether a worker begins with the longest of
those that it holds.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.workload import Workload
from seal_ray.types import UserError

_HELD_PER_SLOT = 2
"""Trials that a worker holds of its own, for each slot, as in a run."""
_TRIALS, _SLOTS = 9, 3
"""Of an instance so small that its optimum can be worked out."""
FIRST_COME, GROUPED, HELD, AS_BUILT = (
    "first come, first served",
    "a task's trials together, the longest task first",
    "the longest first of those that a worker holds",
    "as runs do it: the longest first, of all that wait and of those that a worker holds",
)


def makespan(steps: Sequence[int], workers: int, slots: int, chooses: bool) -> int:
    """Steps until the last trial is done, where workers are given the next in line whenever they hold too few."""
    line = list(reversed(steps))
    waiting: list[list[int]] = [[] for _ in range(workers)]
    busy = [0] * workers
    ends: list[tuple[int, int]] = []
    """When a slot is free again, and whose it is."""
    now = 0
    while True:
        while line and (held := [len(each) + at for each, at in zip(waiting, busy, strict=True)]):
            least_busy = held.index(min(held))
            if held[least_busy] == slots * _HELD_PER_SLOT:
                break
            waiting[least_busy].append(line.pop())
        for worker in range(workers):
            if chooses:
                waiting[worker].sort(reverse=True)
            while waiting[worker] and busy[worker] < slots:
                heapq.heappush(ends, (now + waiting[worker].pop(0), worker))
                busy[worker] += 1
        if not ends:
            return now
        now, worker = heapq.heappop(ends)
        busy[worker] -= 1


def least(steps: Sequence[int], slots: int) -> int:
    """No order is done sooner: neither than all slots busy to the end, nor than the longest trial."""
    return max(-(-sum(steps) // slots), max(steps))


def optimum(steps: Sequence[int], slots: int) -> int:
    """The shortest makespan there is, by trying all ways to divide a few trials over slots that are alike."""
    longest_first = sorted(steps, reverse=True)
    best = makespan(longest_first, 1, slots, chooses=False)

    def place(at: int, loads: tuple[int, ...]) -> None:
        nonlocal best
        if max(loads) >= best:
            return
        if at == len(longest_first):
            best = max(loads)
            return
        for load in set(loads):
            rest = list(loads)
            rest.remove(load)
            place(at + 1, (*rest, load + longest_first[at]))

    place(0, (0,) * slots)
    return best


@dataclass(frozen=True)
class Order:
    """How the trials of a round were given out, and what came of it."""

    name: str
    steps: int
    over_least: float
    """Of the steps that no order can do without, the share taken beside them."""


def orders(work: Workload, workers: int, slots: int, seeds: int) -> list[Order]:
    """A round of recorded lengths, each self-edit tried with so many seeds, by every order."""
    if min(workers, slots, seeds) < 1:
        raise UserError("give at least one worker, one slot and one seed: --workers 1 --slots 16 --seeds 3")
    rounds = [work.epochs * len(edit) for edit in work.edits for _ in range(seeds)]
    tasks = [rounds[at : at + _task(work) * seeds] for at in range(0, len(rounds), _task(work) * seeds)]
    grouped = [trial for task in sorted(tasks, key=sum, reverse=True) for trial in task]
    found = {
        FIRST_COME: makespan(rounds, workers, slots, chooses=False),
        GROUPED: makespan(grouped, workers, slots, chooses=False),
        HELD: makespan(rounds, workers, slots, chooses=True),
        AS_BUILT: makespan(sorted(rounds, reverse=True), workers, slots, chooses=True),
    }
    bound = least(rounds, workers * slots)
    return [Order(name, steps, steps / bound - 1.0) for name, steps in found.items()]


def _task(work: Workload) -> int:
    """Self-edits of one task, as the published rounds have them."""
    return 5 if len(work.edits) % 5 == 0 else 1


@dataclass(frozen=True)
class Small:
    """Small instances, of which the optimum is known: by order, the mean and the worst of its steps over it."""

    instances: int
    trials: int
    slots: int
    over: dict[str, tuple[float, float]]


def small(work: Workload, instances: int = 200) -> Small:
    """Draw a few trials at a time from a round, and hold two orders to what is best."""
    draw = random.Random(0)
    lengths = [len(edit) for edit in work.edits]
    ways: dict[str, Callable[[list[int]], int]] = {
        FIRST_COME: lambda some: makespan(some, 1, _SLOTS, chooses=False),
        AS_BUILT: lambda some: makespan(sorted(some, reverse=True), 1, _SLOTS, chooses=True),
    }
    over: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(instances):
        some = draw.choices(lengths, k=_TRIALS)
        best = optimum(some, _SLOTS)
        for name, way in ways.items():
            over[name].append(way(some) / best - 1.0)
    return Small(instances, _TRIALS, _SLOTS, {name: (fmean(each), max(each)) for name, each in over.items()})


def table(found: Sequence[Order], few: Small, source: str) -> str:
    """What was found, in lines."""
    lines = [
        f"{source}:",
        *(f"  {each.steps:>7,} steps  {each.over_least:+6.1%} over the least  {each.name}" for each in found),
    ]
    lines.append(
        f"{few.instances} instances of {few.trials} trials on {few.slots} slots, over the optimum (mean, worst):"
    )
    return "\n".join([*lines, *(f"  {mean:+6.1%}  {worst:+6.1%}  {name}" for name, (mean, worst) in few.over.items())])
