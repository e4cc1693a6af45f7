"""Going on with less for a while, after a machine ran out of memory or disk and a worker was ended for it."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_EVERY_ONE = 1 << 30


@dataclass
class Shortage:
    """How much a pool may do at once: all at first, and less after each worker that was ended for want of memory."""

    name: str
    pause_seconds: float = 1.0
    """Seconds before the next worker is started; doubled by each further one that was ended, up to 30 times."""
    calm: float = 60.0
    """Seconds without another one after which twice as much is tried again."""
    patience: float = 300.0
    times: int = 6
    """Seconds, and workers, without a single call answered, after which it is not going to get better."""
    workers: int = _EVERY_ONE
    """How many workers may be up."""
    share: float = 1.0
    """The share of its usual load that a single worker may take."""
    _since: float = 0.0
    _last: float = 0.0
    _in_a_row: int = 0

    def struck(self, up: int, reason: str) -> str:
        """A worker was ended and `up` are left. Returns why the pool is to stop where it gets no better, else ""."""
        now = time.monotonic()
        if not self._in_a_row:
            self._since = now
        first = self.workers == _EVERY_ONE
        self._in_a_row += 1
        self._last = now
        if self.workers <= 1:
            self.share /= 2
        self.workers = max(1, up)
        if first:
            logger.warning(
                "%s: a worker was ended because its machine is short (%s); going on with fewer at a time, "
                "and with more again when that has passed",
                *(self.name, reason),
            )
        if self._in_a_row >= self.times and now - self._since >= self.patience:
            return (
                f"{self.name} workers were ended {self._in_a_row} times in {now - self._since:.0f} s with nothing done "
                f"between, although one alone was left: {reason}; stop what else takes the machine's memory, or lower "
                "workers.slots and workers.max_tokens_per_microbatch, then give the same command to continue"
            )
        return ""

    def answered(self) -> None:
        """A call came through: it is not hopeless."""
        self._in_a_row = 0

    def eased(self, size: int) -> bool:
        """Allow twice as much of a pool of this size after a calm while; returns whether that was done."""
        if self.workers == _EVERY_ONE or time.monotonic() - self._last < self.calm:
            return False
        self._last = time.monotonic()
        if self.share < 1:
            self.share *= 2
        else:
            self.workers = 2 * self.workers if 2 * self.workers < size else _EVERY_ONE
        return True

    async def pause(self) -> None:
        """Wait as long as is right before a worker is started."""
        if self._in_a_row:
            await asyncio.sleep(self.pause_seconds * min(30, 2 ** (self._in_a_row - 1)))
