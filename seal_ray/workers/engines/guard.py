"""Ends helper processes when the one that needs them is gone, however it went."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


def end_with_me(pids: Sequence[int]) -> subprocess.Popen[bytes]:
    """A guard that kills these processes when this one dies, a kill -9 included; kill the guard to lift it.

    An engine's own process notices nothing when its parent is killed, and would hold its memory for ever.
    """
    # The guard waits on a pipe that nobody writes to: it closes when this process ends.
    script = 'read never; kill -9 "$@" 2>/dev/null'
    arguments = ["sh", "-c", script, "guard", *map(str, pids)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
