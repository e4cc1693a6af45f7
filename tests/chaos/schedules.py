"""Every schedule of faults by name. A new kind of fault is a function in `alone.FAULTS` or `cluster.STRIKES`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.in_turn import STEPS

KILLED = ("trainer", "sampler", "driver", "node")
STOPPED = ("trainer", "sampler", "raylet", "driver")


@dataclass(frozen=True)
class Strike:
    """What meets a run on a cluster, all at once, when this share of its rows is on disk."""

    moment: float
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    name: str
    where: str
    """`alone`: one process without Ray, met inside its own code; `cluster`: a driver, trainers, samplers and nodes."""
    fault: str = ""
    """Of `alone.FAULTS`, or one that has a module of its own."""
    seed: int = 0
    strikes: tuple[Strike, ...] = ()


def _kills(seed: int) -> Schedule:
    """One moment or two, at each of them one to three kinds of victim."""
    chance = random.Random(f"schedule {seed}")
    moments = sorted(chance.sample(range(75), 1 + seed % 2))
    strikes = [Strike(m / 100, tuple(chance.sample(KILLED, chance.choice((1, 2, 2, 3))))) for m in moments]
    return Schedule(f"kills {seed}", "cluster", seed=seed, strikes=tuple(strikes))


def _stopped(kind: str) -> Schedule:
    return Schedule(f"{kind} stopped for 90 s", "cluster", strikes=(Strike(0.3, (f"stopped {kind}",)),))


def _alone(fault: str, times: int) -> list[Schedule]:
    return [Schedule(f"{fault} {seed}", "alone", fault, seed) for seed in range(1, times + 1)]


ALL: Sequence[Schedule] = (
    *_alone("killed while flushing", 4),
    *_alone("killed while claiming", 1),
    *_alone("killed while merging", 3),
    *_alone("killed while saving a policy", 3),
    *_alone("killed between deciding and entering", 5),
    *(Schedule(f"killed at lesson {step}", "alone", f"killed at lesson {step}") for step in range(1, STEPS + 1)),
    *_alone("killed while saving a lesson", 3),
    *_alone("killed between deciding and entering in turn", 3),
    *_alone("full disk", 4),
    *_alone("slow disk", 1),
    *_alone("clock jumps", 3),
    *_alone("second driver", 1),
    *_alone("unruly endpoint", 3),
    Schedule("head cut off", "alone", "head cut off"),
    *map(_kills, range(1, 8)),
    *map(_stopped, STOPPED),
    Schedule("head killed", "cluster", "head killed"),
    Schedule("memory runs out", "cluster", strikes=(Strike(0.3, ("memory",)),)),
)
TELLING = (
    "killed while flushing 1",
    "killed while merging 1",
    "killed while saving a policy 2",
    "killed between deciding and entering 2",
    "killed at lesson 2",
    "kills 5",
)
"""Those that the suite runs; a trainer that hangs is in the tests of the pool, without a minute of waiting, and a full
disk is in `test_disk.py`."""
