"""Which trials of a task's self-edits are done: as many for each, or those that can still change the choice.

One scheduler belongs to one task. What it proposes is a function of the rewards that it was told and not of the order
in which they came, so a run is the same on one worker and on a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from seal_ray.types import SelfEdit


class Proposal(NamedTuple):
    """One trial: a candidate self-edit by its place among its task's, and which of its seeds."""

    candidate: int
    replicate: int


class Scheduler(Protocol):
    """Ask for trials, do all of them, tell the reward of each; repeat until none is proposed."""

    budget: int
    """Most trials that it proposes."""
    even: bool
    """Whether every candidate that is tried gets as many, so that means of their rewards compare as they are."""
    reads: bool
    """Whether it wants to `read` all of the task's self-edits before it proposes anything."""

    def read(self, edits: Sequence[SelfEdit]) -> None:
        """Look at what was written, once."""
        ...

    def ask(self) -> Sequence[Proposal]:
        """The trials that want a result before anything else is decided; none when the task is done."""
        ...

    def tell(self, proposal: Proposal, reward: float | None) -> None:
        """Note the reward of a proposed trial; None where it failed, as the candidate's others would."""
        ...


class FixedSeeds:
    """Every candidate is tried with as many seeds, all of which may start at once."""

    even = True
    reads = False

    def __init__(self, candidates: int, seeds: int) -> None:
        self.budget = candidates * seeds
        self._open = dict.fromkeys(Proposal(c, k) for c in range(candidates) for k in range(seeds))

    def read(self, edits: Sequence[SelfEdit]) -> None:
        """There is no need to."""

    def ask(self) -> list[Proposal]:
        return list(self._open)

    def tell(self, proposal: Proposal, reward: float | None) -> None:
        if proposal not in self._open:
            raise ValueError(f"{proposal} was not proposed or is already told of")
        del self._open[proposal]
