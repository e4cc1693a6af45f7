"""Observers by the names that `run.observers` may have: files that other programs read."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from seal_ray import plugins
from seal_ray.config import Config
from seal_ray.events import Advanced, Event, Observer, StageBegan, UpdateTrained
from seal_ray.record.rows import OutcomeRow, PlannedRow, PolicyRow
from seal_ray.types import UserError

OBSERVERS = {
    "jsonl": "seal_ray.observe.observers:JsonLines",
    "tensorboard": "seal_ray.observe.observers:TensorBoard",
}


def named(config: Config) -> list[Observer]:
    """The observers that a config names, each made with the run's directory."""
    return [plugins.find("observer", name, OBSERVERS)(config.dir) for name in config.run.observers]


class JsonLines:
    """Every event as a line of `events.jsonl` in the run's directory: its time, its kind and its fields."""

    def __init__(self, directory: str) -> None:
        self._file = (_local(directory, "jsonl") / "events.jsonl").open("a", encoding="utf-8", errors="replace")

    def on(self, event: Event) -> None:
        line = {"time": time.time(), "event": type(event).__name__, **vars(event)}
        self._file.write(json.dumps(line) + "\n")
        if not isinstance(event, Advanced | PlannedRow):  # of which there are many, and the next line takes them along
            self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """Scalars under `tensorboard/` in the run's directory: rewards by stage, and the losses of every update."""

    def __init__(self, directory: str) -> None:
        try:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            advice = 'pip install "seal-ray[tensorboard]"'
            raise UserError(f'run.observers: "tensorboard" needs its package: {advice}') from None
        self._writer = EventFileWriter(str(_local(directory, "tensorboard") / "tensorboard"))
        self._places: dict[str, set[str]] = defaultdict(set)
        self._means: dict[str, tuple[int, float]] = {}

    def on(self, event: Event) -> None:
        match event:
            case PlannedRow():
                place = f"evaluation/{event.arm}" if event.stage == "evaluation" else event.stage
                self._places[event.trial].add(place)
            case OutcomeRow():
                for place in self._places.pop(event.key, ()):
                    self._mean(place, event.reward or 0.0)
            case UpdateTrained():
                for step, loss in enumerate(event.losses):
                    self._scalar(f"update {event.version}/loss", loss, step)
            case PolicyRow():
                self._scalar("policy/rank", event.rank, event.version)
                self._scalar("policy/kept", event.kept, event.version)
            case StageBegan():
                self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _mean(self, place: str, reward: float) -> None:
        """The mean reward of a place so far, by the number of its trials."""
        count, total = self._means.get(place, (0, 0.0))
        count, total = self._means[place] = count + 1, total + reward
        self._scalar(f"reward/{place}", total / count, count)

    def _scalar(self, name: str, value: float, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record
        from tensorboard.compat.proto.summary_pb2 import Summary

        values: Any = [Summary.Value(tag=name, simple_value=value)]
        self._writer.add_event(Record(wall_time=time.time(), step=step, summary=Summary(value=values)))


def _local(directory: str, name: str) -> Path:
    """The run's directory as a folder that a file can be appended to."""
    if "://" in directory:
        raise UserError(f"run.observers: {name!r} writes a file as it goes, which object storage cannot; leave it out")
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
