"""A file of JSON lines, `metrics.jsonl` in the run's directory: one figure a line, for scripts and data frames."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from seal_ray.observe.figures import Figure
from seal_ray.observe.files import Appended
from seal_ray.observe.sinks.base import TrackedRun

FILE = "metrics.jsonl"


class JsonLines:
    """Appends to the file, which a run that is continued goes on with."""

    def __init__(self, run: TrackedRun) -> None:
        assert run.folder  # a run in object storage was refused
        self._held = set(_held(run.folder / FILE))
        self._file = Appended(run.folder / FILE)

    def held(self) -> set[tuple[str, int]]:
        return self._held

    def tell(self, figures: Sequence[Figure]) -> None:
        now = time.time()
        self._file.write(b"".join(_line(figure, now) for figure in figures))

    def close(self, ended: bool) -> None:
        self._file.close()


def _line(figure: Figure, now: float) -> bytes:
    value = figure.value if math.isfinite(figure.value) else None  # JSON knows no other numbers
    return json.dumps({"time": now, "name": figure.name, "step": figure.step, "value": value}).encode() + b"\n"


def _held(file: Path) -> Iterator[tuple[str, int]]:
    """What its lines say; one that a full disk cut short says nothing."""
    for line in file.read_bytes().splitlines() if file.exists() else ():
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(line)
            yield said["name"], said["step"]
