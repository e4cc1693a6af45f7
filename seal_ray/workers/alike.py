"""Holds all workers of a run to the same software and the same base: two kinds of them would mix two kinds of results.

The driver need not be like them. Processors may differ: that moves rounding, and the record says which there were.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal_ray.record.environment import versions
from seal_ray.types import UserError

_HEAD = 1 << 20
"""Bytes of each file that are compared, beside its size: of weights, their names, shapes and first numbers."""


@dataclass(frozen=True)
class Footing:
    """What a worker computes with."""

    node: str
    versions: Mapping[str, str]
    base: Mapping[str, str]


def footing(path: str) -> Footing:
    """What this process computes with. A base that is neither folder nor file here goes by its name in the config."""
    base = Path(path)
    files = [file for file in (sorted(base.iterdir()) if base.is_dir() else [base]) if file.is_file()]
    return Footing(socket.gethostname(), versions(), {file.name: _outline(file) for file in files})


class Alike:
    """Remembers what the first worker of a run computes with, and holds every other worker to that."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._first: Footing | None = None

    async def set_up(self, handle: Any) -> None:
        """Bring a worker up, once it is known to be like the others; `UserError` says what is not alike, and where."""
        path = self._path
        self.compare(await handle.__ray_call__.remote(lambda worker: footing(path)))
        await handle.setup.remote()

    def compare(self, found: Footing) -> None:
        first = self._first = self._first or found
        # A trainer's node need not have a sampler's engine: what only one of them has is not compared.
        shared = first.versions.keys() & found.versions.keys()
        odd = [
            f"{name} {first.versions[name]} and {found.versions[name]}"
            for name in sorted(shared)
            if first.versions[name] != found.versions[name]
        ]
        names = sorted(first.base.keys() | found.base.keys())
        odd += [
            f"two contents of {self._path}/{name}" for name in names if first.base.get(name) != found.base.get(name)
        ]
        if odd:
            raise UserError(
                f"the nodes {first.node} and {found.node} differ: {'; '.join(odd)}; "
                "results would depend on who computed them, so give every node the same"
            )


def _outline(file: Path) -> str:
    with file.open("rb") as content:
        return f"{file.stat().st_size} {hashlib.sha256(content.read(_HEAD)).hexdigest()[:16]}"
