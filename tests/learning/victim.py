"""A learning in a process of its own, which ends itself with SIGKILL at a change of a file of its directory."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any


def learns(files: Sequence[str], model: str, into: str, settings: Sequence[str], killed_at: int) -> None:
    """Learn; the `killed_at`-th change of a file in the directory is never made. 0: all are."""
    from seal_ray.learning.learn import learnt
    from seal_ray.observe.progress import Silent

    changes = [0]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in ("open", "os.rename", "os.remove", "os.link", "os.mkdir") or not isinstance(args[0], str):
            return
        if event == "open" and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        path = args[1] if event in ("os.rename", "os.link") else args[0]
        if isinstance(path, str) and path.startswith(f"{into}/"):
            changes[0] += 1
            if changes[0] == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    learnt(files, model, into, Silent(), settings=settings)
