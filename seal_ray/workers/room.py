"""Whether the cluster has room for the workers of a run, and the messages for when it has none."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ray
from ray.exceptions import RayError

from seal_ray.config import Config
from seal_ray.plain import counted
from seal_ray.types import UserError

logger = logging.getLogger(__name__)

_LOOK = 2.0
_TELL_AGAIN = 60.0
"""Seconds between two lines about the same lack."""


@dataclass(frozen=True)
class Need:
    """What one worker of a kind takes of a machine."""

    kind: str
    cpus: float
    gpus: float

    @classmethod
    def all_of(cls, config: Config) -> tuple[Need, Need]:
        """What a trainer and a sampler of this config need."""
        workers = config.workers
        trainer = cls("trainer", workers.cpus, workers.gpus_per_trainer)
        return trainer, cls("sampler", workers.cpus, workers.gpus_per_sampler)

    def fits(self, machine: Machine) -> bool:
        return self.cpus <= machine.cpus and self.gpus <= machine.gpus

    def times(self, machine: Machine) -> int:
        """How many such workers fit on a machine; of those that take nothing, any number."""
        of = [(self.cpus, machine.cpus), (self.gpus, machine.gpus)]
        return min((int(there / taken + 1e-9) for taken, there in of if taken), default=sys.maxsize)

    def __str__(self) -> str:
        return _both(self.cpus, self.gpus) if self.gpus else counted(self.cpus, "CPU")


@dataclass(frozen=True)
class Machine:
    cpus: float
    gpus: float


def machines() -> list[Machine]:
    """What each node that is up has, in use or not."""
    return [
        Machine(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()
        if node["Alive"]
    ]


def beside(need: Need, other: Need, found: Sequence[Machine]) -> int:
    """How many workers of a kind the machines hold beside one of another kind."""
    places = [place for place, machine in enumerate(found) if other.fits(machine)]
    return max((sum(need.times(left) for left in _without(other, place, found)) for place in places), default=0)


def _without(taken: Need, place: int, found: Sequence[Machine]) -> list[Machine]:
    left = list(found)
    left[place] = Machine(found[place].cpus - taken.cpus, found[place].gpus - taken.gpus)
    return left


def refuse_what_never_fits(needs: Sequence[Need], here: Machine) -> None:
    """Refuse workers that this machine can never hold, where its Ray is one that nothing can join."""
    for need in needs:
        if not need.fits(here):
            raise UserError(
                f"a {need.kind} needs {need} (workers.cpus, workers.gpus_per_{need.kind}), and this machine has "
                f"{_both(here.cpus, here.gpus)}: ask for less, or name a cluster that has it as workers.address; "
                "`seal-ray doctor` with this config shows what is here"
            )


def lack(need: Need, found: Sequence[Machine]) -> str:
    """What is waited for, what there is, and what can be done."""
    whole = _both(sum(machine.cpus for machine in found), sum(machine.gpus for machine in found))
    on = f"{whole} on {counted(len(found), 'machine')}"
    if any(need.fits(machine) for machine in found):
        return f"waiting for {need} for a {need.kind}: the cluster has {on}, in use or with a process that still starts"
    return (
        f"waiting for a machine with {need} for a {need.kind}: the cluster has {on}, and none that large; the run goes "
        "on when one joins; to ask for less, stop it (Ctrl-C); `seal-ray doctor` with this config shows what is there"
    )


async def tell_of_lacks(waiting: Sequence[tuple[Need, Callable[[], bool]]]) -> None:
    """Warn of kinds of worker that find no room on the cluster, for as long as they find none."""
    told = [0.0] * len(waiting)
    seen = [False] * len(waiting)
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(_LOOK)
        for at, (need, finds_none) in enumerate(waiting):
            before, seen[at] = seen[at], finds_none()
            if before and seen[at] and (not told[at] or clock() - told[at] > _TELL_AGAIN):
                told[at] = clock()
                try:
                    logger.warning("%s", lack(need, await asyncio.to_thread(machines)))
                except RayError as error:
                    logger.warning("waiting for %s for a %s; the cluster does not answer: %s", need, need.kind, error)


def _both(cpus: float, gpus: float) -> str:
    return f"{counted(gpus, 'GPU')} and {counted(cpus, 'CPU')}"
