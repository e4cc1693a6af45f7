"""How trials are shared out: many settings on few tasks, the better half on more, the last on tasks of their own.

The start is tried wherever anything is, so that all settings can be held against it on the same tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_ray.record.summary import FEWEST
from seal_ray.tuning.costs import Costs
from seal_ray.tuning.space import Settings

FEWEST_TRIALS = 30
"""With fewer there is nothing left for a comparison that says anything."""
_FINALISTS = 3
CONTENDERS = 3
"""What is compared after the race: the start, the best, and one that is cheaper."""
Rewards = Mapping[Settings, Mapping[str, float]]
"""What each of them earned, by task."""


@dataclass(frozen=True)
class Schedule:
    """Which share of the trials goes where. Settings are as many as the square root of 2.5 times the trials: twice the
    trials try more settings, each on more tasks."""

    fields: tuple[int, ...]
    """How many settings are in the race at each of its stages."""
    step: int
    """Tasks that each stage adds."""
    fresh: int
    """Tasks that come after the race."""

    @classmethod
    def of(cls, trials: int, tasks: int, possible: int) -> Schedule:
        """For about so many trials, with so many tasks, and settings to choose from; two tasks are the fewest."""
        field = min(math.isqrt(5 * trials // 2), possible)
        fields = tuple(_halved(field))
        most = tasks // 2
        step = max(1, min(2 * trials // (5 * field), most // len(fields)))
        fields = fields[: most // step]
        spent = step * (sum(fields) + len(fields) - 1)  # the start is in the first stage anyhow
        fresh = min(tasks - step * len(fields), max(FEWEST, (trials - spent) // CONTENDERS))
        return cls(fields, step, fresh)

    @property
    def raced(self) -> int:
        """Tasks of the race."""
        return self.step * len(self.fields)

    @property
    def tasks(self) -> int:
        return self.raced + self.fresh

    def stages(self) -> Iterator[tuple[int, int]]:
        """How many settings are tried on the first so many tasks, at each stage."""
        return ((size, self.step * number) for number, size in enumerate(self.fields, 1))


def _halved(field: int) -> Iterator[int]:
    yield field
    while field > _FINALISTS:
        field = -(-field // 2)
        yield field


def ranked(rewards: Rewards, field: Sequence[Settings], costs: Costs) -> list[Settings]:
    """Settings that were tried on the same tasks, the best first, among equals the cheaper first."""
    return sorted(field, key=lambda each: (-round(fmean(rewards[each].values()), 9), costs.of_both(each)))


def contenders(rewards: Rewards, start: Settings, last: Sequence[Settings], first: int, costs: Costs) -> list[Settings]:
    """The settings to compare with the start on fresh tasks; none where the race found none as good.

    The best of the last stage (best first), where it earned more than the start, and the cheapest that earned no less
    on the tasks that both were tried on and outlived the first cut, which came after so many tasks. To let it earn a
    little less would be to take what luck flattered most: see docs/results.md.
    """
    beyond = [each for each, found in rewards.items() if len(found) > first or each in last]
    cheap = [each for each in beyond if costs.cheaper(each, start) and lead(rewards, each, start) >= 0]
    ahead = [each for each in last if lead(rewards, each, start) > 0]
    return list(dict.fromkeys([*ahead[:1], *sorted(cheap, key=costs.of_both)[:1]]))


def lead(rewards: Rewards, one: Settings, other: Settings) -> float:
    """By how much one earned more, on the tasks that both were tried on."""
    both = [task for task in rewards[one] if task in rewards[other]]
    return round(fmean(rewards[one][task] - rewards[other][task] for task in both), 9) + 0.0  # and no minus zero


def front(rewards: Rewards, costs: Costs) -> set[Settings]:
    """The Pareto front of reward, operations and bytes: settings of which no other earns as much for less."""

    def beats(other: Settings, one: Settings) -> bool:
        ahead = lead(rewards, other, one)
        no_dearer = costs.flops(other) <= costs.flops(one) and costs.bytes(other) <= costs.bytes(one)
        return no_dearer and (ahead > 0 or (ahead == 0 and costs.cheaper(other, one)))

    return {one for one in rewards if not any(beats(other, one) for other in rewards)}
