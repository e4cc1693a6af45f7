"""How one schedule went."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from seal_ray.record.journal import FLUSH_SECONDS

LOST_AT_MOST = 1.0
"""Seconds of done work that a kill may cost."""
PATIENCE = 300.0
"""Seconds without any progress after which a run is taken to stand still."""

assert FLUSH_SECONDS < LOST_AT_MOST


@dataclass
class Survival:
    wrong: list[str] = field(default_factory=list)
    """What was not as it should be; empty for a schedule that was survived."""
    met: list[str] = field(default_factory=list)
    """The faults that it met, in order."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each fault on a cluster to the next rows on disk."""
    again: int = 0
    """Rows that were handed to the journal by one driver, and by the next one again."""
    oldest: float = 0.0
    """The most seconds for which a driver had handed over one of these before it ended, by its own clock."""
    seconds: float = 0.0

    def hold(self, wanted: Sequence[str]) -> None:
        """To every fault having been met as often as it was wanted, or oftener."""
        if missing := Counter(wanted) - Counter(self.met):
            self.wrong.append(f"it never met: {', '.join(missing.elements())}")

    def hold_to_a_second(self) -> None:
        """To what a kill may cost."""
        if self.oldest > LOST_AT_MOST:
            self.wrong.append(f"what was done {self.oldest:.1f} s before its driver's end was done a second time")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def in_time(condition: Callable[[], bool], progress: Callable[[], object]) -> bool:
    """Whether it came true while there was progress; how long that takes is the machine's affair."""
    seen, deadline = progress(), time.monotonic() + PATIENCE
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
        if (now := progress()) != seen:
            seen, deadline = now, time.monotonic() + PATIENCE
    return done
