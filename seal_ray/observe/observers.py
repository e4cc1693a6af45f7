"""Observers by the names that `run.observers` may have: trackers, or somebody's own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from seal_ray import plugins
from seal_ray.config import Config
from seal_ray.events import Observer
from seal_ray.observe.sinks.base import Sink, TrackedRun
from seal_ray.observe.trackers import Trackers
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.types import UserError

TRACKERS = {
    "jsonl": "seal_ray.observe.sinks.jsonl:JsonLines",
    "mlflow": "seal_ray.observe.sinks.mlflow:MLflow",
    "tensorboard": "seal_ray.observe.sinks.tensorboard:TensorBoard",
    "trackio": "seal_ray.observe.sinks.trackio:Trackio",
    "wandb": "seal_ray.observe.sinks.wandb:WandB",
}
"""All but `jsonl` need a package of their name, which an extra brings; imported when it is first told something."""
_FILES = ("jsonl", "tensorboard")
"""Those that append to files in the run's directory."""


def check(config: Config) -> None:
    """Whether the observers that a config names are there, and can watch a run in its directory."""
    for name in config.run.observers:
        if name in TRACKERS and not installed(name):
            raise UserError(f'run.observers: {name!r} needs its package: pip install "seal-ray[{name}]"')
        if name not in TRACKERS:
            _own(name)
        if name in _FILES and Store(config.dir).local is None:
            raise UserError(
                f"run.observers: {name!r} writes a file as it goes, which object storage cannot; leave it out"
            )


def named(config: Config, store: Store, journal: Journal) -> list[Observer]:
    """The observers that a config names: each made with the run's directory, all trackers as one."""
    check(config)
    names = dict.fromkeys(config.run.observers)
    found: list[Observer] = [
        plugins.made(f"run.observers {name!r}: is made with the run's directory", _own(name), config.dir)
        for name in names
        if name not in TRACKERS
    ]
    sinks = {name: _late(name) for name in names if name in TRACKERS}
    return [*found, Trackers(config, store, journal, sinks)] if sinks else found


def _own(name: str) -> Any:
    return plugins.find_with("run.observers", name, TRACKERS, ("on", "close"), "seal_ray/events.py")


def installed(tracker: str) -> bool:
    """Whether what a tracker needs is here. A folder of its name, such as some leave files in, is no package."""
    return tracker == "jsonl" or bool((found := find_spec(tracker)) and found.origin)


def _late(name: str) -> Callable[[TrackedRun], Sink]:
    """A tracker, imported where it is opened: in its own thread."""
    return lambda run: plugins.find("run.observers", name, TRACKERS)(run)  # type: ignore[no-any-return]
