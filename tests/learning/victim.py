"""A learning in a process of its own, which ends itself with SIGKILL at a change of a file of its directory."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from tests.chaos.alone import at_each_change


def learns(files: Sequence[str], model: str, into: str, settings: Sequence[str], killed_at: int) -> None:
    """Learn; the `killed_at`-th change of a file in the directory is never made. 0: all are."""
    from seal_ray.learning.learn import learnt
    from seal_ray.observe.progress import Silent

    def act(number: int) -> None:
        if number == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    at_each_change(into, ".", act)
    learnt(files, model, into, Silent(), settings=settings)
