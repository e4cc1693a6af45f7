"""An update that is under way, kept now and then: who goes on with the run goes on with the update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Unfinished:
    """The losses of the steps that were taken, and where these led: the weights with their two moments."""

    losses: tuple[float, ...]
    numbers: tuple[np.ndarray, ...]


class Keeper(Protocol):
    """Where an update is kept while it is under way."""

    @property
    def is_due(self) -> bool:
        """Whether it is worth keeping what was done since the last time."""

    def found(self) -> Unfinished | None:
        """What was kept by whoever began it."""

    def keep(self, update: Unfinished) -> None: ...
