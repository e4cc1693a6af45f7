"""What is made once on a machine, for all workers and later runs there."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from seal_ray.types import UserError


def home() -> Path:
    """Where it is kept. Whoever deletes it has it made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seal_ray"


def once(key: str, make: Callable[[Path], None]) -> Path:
    """The folder of this key; where there is none yet, `make` fills one, whole or not at all, while others wait."""
    folder = home() / key
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = open(folder.with_suffix(".lock"), "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UserError(
            f"{home()}: cannot be written: {error.strerror}; name another place as XDG_CACHE_HOME"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder
