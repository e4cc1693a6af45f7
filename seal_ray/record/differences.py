"""By how much tasks did better one way than another, each task held to itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seal_ray.record.summary import FEWEST, Measured, by_task, figure, interval


@dataclass(frozen=True)
class Difference:
    """A mean difference over tasks."""

    mean: float | None
    """None where there is nothing to compare."""
    low: float | None
    high: float | None
    """None where there are too few tasks for an interval."""
    tasks: int
    why: str = ""
    """Why a figure is missing."""


def difference(*pairs: tuple[Measured, Measured]) -> Difference:
    """The first of each pair over the second, over the tasks that both have; with a 95 % interval, resampling tasks.

    A task of several pairs, as runs of several seeds may have in common, counts once.
    """
    ones, others = zip(*pairs, strict=True)
    if figure(ones).void or figure(others).void:
        return Difference(None, None, None, 0, "all trials of one of the two failed")
    differences = by_task(
        (task, reward - before[task])
        for one, other in pairs
        for before in [other.of_task]
        for task, reward in one.of_task.items()
        if task in before
    )
    if not differences:
        return Difference(None, None, None, 0, "no task in common")
    found = interval(differences)
    if found.n < FEWEST:
        few = f"no interval: fewer than {FEWEST} tasks in common"
        return Difference(found.accuracy, None, None, found.n, few)
    return Difference(found.accuracy, found.low, found.high, found.n)


def held_to(name: str, runs: Sequence[Mapping[str, Measured]]) -> dict[str, Difference]:
    """By how much every other did better than the one of that name, with the tasks of several runs taken together."""
    names = dict.fromkeys(other for run in runs for other in run)
    both = {other: [(run[other], run[name]) for run in runs if other in run and name in run] for other in names}
    return {other: difference(*pairs) for other, pairs in both.items() if pairs and other != name}
