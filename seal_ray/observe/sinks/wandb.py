"""Weights & Biases, as `WANDB_PROJECT`, `WANDB_MODE` and its other environment variables say.

What it holds is what its files in the run's directory hold, sent or not: what it could not send, `wandb sync` does.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import wandb
from wandb.proto.wandb_internal_pb2 import HistoryRecord, Record

from seal_ray.observe.figures import Figure
from seal_ray.observe.sinks.base import PROJECT, TrackedRun
from seal_ray.observe.sinks.wandb_log import records
from seal_ray.types import UserError

_STEP = "step"
"""What every figure is drawn over: its own step, for W&B's must rise from row to row whatever the figure is."""
_PATIENCE = 30.0
"""Seconds that the process which writes W&B's files has to end after the run that it wrote for was killed."""
_QUIET = {
    "console": "off",  # what models write is not W&B's
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "silent": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,  # the command line may hold secrets
    "x_disable_stats": True,
}


class WandB:
    """A run of W&B's. Offline, each continuation is one more folder, and they are parts of the same run."""

    def __init__(self, run: TrackedRun) -> None:
        if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
            raise UserError("not logged in; `wandb login` does that, and WANDB_MODE=offline does without")
        folder = run.folder or Path(os.environ.get("WANDB_DIR") or ".")
        _wait_for_writers(folder / "wandb")
        rows = list(_rows(folder / "wandb", run.id))
        self._held = {(name, int(row[_STEP])) for row, _ in rows if _STEP in row for name in row if name != _STEP}
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=run.id,
            name=run.name,
            config=dict(run.parameters),
            dir=str(folder),
            resume="allow",
            allow_val_change=True,
            settings=wandb.Settings(**_QUIET),
        )
        self._run.define_metric("*", step_metric=_STEP)
        self._next = max([self._run.step, *(number + 1 for _, number in rows)])

    def held(self) -> set[tuple[str, int]]:
        return self._held

    def tell(self, figures: Sequence[Figure]) -> None:
        for figure in figures:
            self._run.log({figure.name: figure.value, _STEP: figure.step}, step=self._next)
            self._next += 1

    def close(self, ended: bool) -> None:
        self._run.finish(exit_code=0 if ended else 1)


def _rows(folder: Path, run: str) -> Iterator[tuple[dict[str, float], int]]:
    """The rows of a run in W&B's files, each with W&B's own number for it."""
    for file in sorted(folder.glob(f"*run-*-{run}/run-{run}.wandb")):
        for each in records(file):
            record = Record.FromString(each)
            if record.WhichOneof("record_type") == "history":
                yield _row(record.history), record.history.step.num


def _row(history: HistoryRecord) -> dict[str, float]:
    found = {item.key or "".join(item.nested_key): json.loads(item.value_json) for item in history.item}
    return {name: value for name, value in found.items() if not name.startswith("_")}


def _wait_for_writers(folder: Path) -> None:
    """W&B writes in a process of its own, which outlives a run that was killed and writes what it still has."""
    until = time.monotonic() + _PATIENCE
    while any(_writes(process, folder) for process in psutil.process_iter()):
        if time.monotonic() > until:
            raise UserError(f"W&B is still writing to {folder} for a run that is over; end its process `wandb-core`")
        time.sleep(0.2)


def _writes(process: psutil.Process, folder: Path) -> bool:
    try:
        if process.name() != "wandb-core":
            return False
        return any(Path(file.path).is_relative_to(folder.resolve()) for file in process.open_files())
    except psutil.Error:  # it has ended, or is somebody else's
        return False
