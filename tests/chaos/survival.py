"""How one schedule went."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Survival:
    wrong: list[str] = field(default_factory=list)
    """What was not as it should be; empty for a schedule that was survived."""
    met: list[str] = field(default_factory=list)
    """The faults that it met, in order."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each fault on a cluster to the next rows on disk."""
    again: int = 0
    """Samples and trials that were begun a second time."""
    oldest: float = 0.0
    """Seconds before its process ended that the oldest of these had been done."""
    seconds: float = 0.0
    begun: set[str] = field(default_factory=set)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "begun"}
