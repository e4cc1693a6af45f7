"""TensorBoard: event files under `tensorboard/` in the run's directory, another for each time the run is continued.

Records are written at once: TensorBoard's own writer has a thread, which prints a traceback where a disk is full.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event as Record
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from seal_ray.observe.figures import Figure
from seal_ray.observe.sinks.base import TrackedRun

FOLDER = "tensorboard"
_CONFIG = ("config", 0)
_NUMBER = itertools.count()
"""Of the files of this process."""


class TensorBoard:
    """Scalars, and the config as a table among the texts."""

    def __init__(self, run: TrackedRun) -> None:
        assert run.folder  # a run in object storage was refused
        folder = run.folder / FOLDER
        self._held = _held(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBER)}"
        self._writer = RecordWriter((folder / name).open("xb", buffering=0))
        self._write(file_version="brain.Event:2")
        if _CONFIG not in self._held:
            lines = [f"| {name} | `{value}` |" for name, value in {"name": run.name, **run.parameters}.items()]
            self._add(*_CONFIG, "\n".join(["| setting | value |", "|---|---|", *lines]))

    def held(self) -> set[tuple[str, int]]:
        return self._held

    def tell(self, figures: Sequence[Figure]) -> None:
        for figure in figures:
            self._add(figure.name, figure.step, figure.value)

    def close(self, ended: bool) -> None:
        self._writer.close()

    def _add(self, name: str, step: int, value: float | str) -> None:
        said: Any = {"simple_value": value}
        if isinstance(value, str):
            said = {"tensor": make_tensor_proto(value), "metadata": create_summary_metadata(name, None)}
        values = [Summary.Value(tag=name, **said)]
        self._write(step=step, summary=Summary(value=values))

    def _write(self, **what: Any) -> None:
        self._writer.write(Record(wall_time=time.time(), **what).SerializeToString())


def _held(folder: Path) -> set[tuple[str, int]]:
    """What its files hold; a record that a kill cut short is not read."""
    files = sorted(folder.glob("events.out.tfevents.*"))
    records = (Record.FromString(each) for file in files for each in RawEventFileLoader(str(file)).Load())
    return {(value.tag, record.step) for record in records for value in record.summary.value}
