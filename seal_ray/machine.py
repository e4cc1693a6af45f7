"""What this process may have of its machine: memory and cores, less where a container grants less than there is.

Neither psutil nor Python look at a container's limits, and a process that takes more memory is killed without a word.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import TypeVar

import psutil

N = TypeVar("N", int, float)

_OWN = Path("/proc/self/cgroup")
"""The control groups of this process, a line each."""
_GROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that can still be had; what only caches files is given up for them, and counts."""
    return max(0, min([int(psutil.virtual_memory().available), *_granted("memory", _left, _older_left)]))


def cores() -> int:
    """How many can work at once: those that this process may run on, and as much of their time as it is given."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([found, *_granted("cpu", _quota, _older_quota)])))


def _granted(what: str, *ways: Callable[[Path], N]) -> list[N]:
    """What each control group of this process grants, as the versions say it; one without a limit is left out.

    A container often sees its own group where the root is, and not at the path that it is told.
    """
    found: list[N] = []
    for group, read in product(_groups(what), ways):
        with suppress(OSError, ValueError):
            found.append(read(group))
    return found


def _groups(what: str) -> Iterator[Path]:
    """The folders of this process's groups, from its own to the root; in the first version a tree for each thing."""
    lines = _OWN.read_text().splitlines() if _OWN.exists() else []
    for line in lines:
        _, things, path = line.split(":", 2)
        if things and what not in things.split(","):
            continue
        root = _GROUPS / what if things else _GROUPS
        own = root / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _left(group: Path) -> int:
    return _number(group / "memory.max") - _number(group / "memory.current") + _caches(group, "")


def _older_left(group: Path) -> int:
    limit, used = _number(group / "memory.limit_in_bytes"), _number(group / "memory.usage_in_bytes")
    return limit - used + _caches(group, "total_")


def _caches(group: Path, prefix: str) -> int:
    known = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(known[f"{prefix}inactive_file"]) + int(known[f"{prefix}active_file"])


def _quota(group: Path) -> float:
    given, period = (group / "cpu.max").read_text().split()
    return int(given) / int(period)


def _older_quota(group: Path) -> float:
    given = _number(group / "cpu.cfs_quota_us")
    if given < 0:
        raise ValueError("no limit")
    return given / _number(group / "cpu.cfs_period_us")


def _number(file: Path) -> int:
    return int(file.read_text())
