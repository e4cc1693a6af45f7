"""What a tracker is to a run, and a run to a tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seal_ray.observe.figures import Figure

PROJECT = "seal-ray"
"""What trackers keep runs under, unless their own environment variables say otherwise."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of the run itself."""

    id: str
    """Kept in the run's directory, so that a run that is continued continues the same run of the tracker."""
    name: str
    parameters: Mapping[str, str]
    folder: Path | None
    """The run's directory where it is one of this machine; None in object storage."""


class Sink(Protocol):
    """A tracker, opened for a run as `Sink(run)`. One thread alone uses it, and it may take its time, or raise."""

    def held(self) -> set[tuple[str, int]]:
        """Name and step of every figure that it has and will not lose."""
        ...

    def tell(self, figures: Sequence[Figure]) -> None:
        """Take figures that it does not hold."""
        ...

    def close(self, ended: bool) -> None:
        """Nothing more will come; `ended` says that the run is done, and not only stopped."""
        ...
