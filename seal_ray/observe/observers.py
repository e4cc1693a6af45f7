"""Observers by the names that `run.observers` may have: a file of events, and trackers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from seal_ray import plugins
from seal_ray.config import Config
from seal_ray.events import Advanced, Event, Observer
from seal_ray.observe.files import Appended
from seal_ray.observe.sinks.base import Sink, TrackedRun
from seal_ray.observe.trackers import Trackers
from seal_ray.record.journal import Journal
from seal_ray.record.rows import PlannedRow, SpanRow
from seal_ray.record.storage import Store
from seal_ray.types import UserError

TRACKERS = {
    "mlflow": "seal_ray.observe.sinks.mlflow:MLflow",
    "tensorboard": "seal_ray.observe.sinks.tensorboard:TensorBoard",
    "trackio": "seal_ray.observe.sinks.trackio:Trackio",
    "wandb": "seal_ray.observe.sinks.wandb:WandB",
}
"""Each by the name of its package, which is that of its extra as well; imported when it is first told something."""
OBSERVERS = {"jsonl": "seal_ray.observe.observers:JsonLines", **TRACKERS}
_FILES = ("jsonl", "tensorboard")
"""Those that append to files in the run's directory."""
_MANY, _HELD = (Advanced, PlannedRow, SpanRow), 8192
"""Events of which there are so many that the line of another takes them along, or so many bytes of them one another."""


def check(config: Config) -> None:
    """Whether the observers that a config names are there, and can watch a run in its directory."""
    for name in config.run.observers:
        if name in TRACKERS and not _installed(name):
            raise UserError(f'run.observers: {name!r} needs its package: pip install "seal-ray[{name}]"')
        if name not in TRACKERS:
            plugins.find("run.observers", name, OBSERVERS)
        if name in _FILES and Store(config.dir).local is None:
            raise UserError(
                f"run.observers: {name!r} writes a file as it goes, which object storage cannot; leave it out"
            )


def named(config: Config, store: Store, journal: Journal) -> list[Observer]:
    """The observers that a config names: each made with the run's directory, all trackers as one."""
    check(config)
    names = dict.fromkeys(config.run.observers)
    found: list[Observer] = [
        plugins.find("run.observers", name, OBSERVERS)(config.dir) for name in names if name not in TRACKERS
    ]
    sinks = {name: _late(name) for name in names if name in TRACKERS}
    return [*found, Trackers(config, store, journal, sinks)] if sinks else found


def _installed(package: str) -> bool:
    """A folder of that name, such as those in which trackers leave files, is no package."""
    found = find_spec(package)
    return bool(found and found.origin)


def _late(name: str) -> Callable[[TrackedRun], Sink]:
    """A tracker, imported where it is opened: in its own thread."""
    return lambda run: plugins.find("run.observers", name, TRACKERS)(run)  # type: ignore[no-any-return]


class JsonLines:
    """Every event as a line of `events.jsonl` in the run's directory: its time, its kind and its fields.

    A line is handed to the system before the run goes on, so that whatever kills the run leaves it, and whole. Plans,
    times and counts, of which there are many, go with the line that follows, or together.
    """

    def __init__(self, directory: str) -> None:
        self._file, self._held = Appended(Path(directory, "events.jsonl")), bytearray()

    def on(self, event: Event) -> None:
        self._held += _json({"time": time.time(), "event": type(event).__name__, **vars(event)})
        self._held += b"\n"
        if not isinstance(event, _MANY) or len(self._held) > _HELD:
            self._write()

    def close(self) -> None:
        if self._held:
            self._write()
        self._file.close()

    def _write(self) -> None:
        lines, self._held = bytes(self._held), bytearray()
        self._file.write(lines)


def _json(line: dict[str, Any]) -> bytes:
    try:
        found = to_json(line)
        # Some readers take more for the end of a line than its end. To look for such costs less than to spell all out.
        return found if found.isascii() else to_json(line, ensure_ascii=True)
    except ValueError:  # half of a character, which some model wrote
        return json.dumps(line).encode()
