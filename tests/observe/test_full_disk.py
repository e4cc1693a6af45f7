"""Trackers that append to a file where nothing more can be written: the run goes on, and one line says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seal_ray.observe.figures import Figure
from seal_ray.observe.outlet import Outlet
from seal_ray.observe.sinks.base import Sink, TrackedRun
from seal_ray.observe.sinks.jsonl import JsonLines
from seal_ray.observe.sinks.tensorboard import TensorBoard
from tests.disks import mounted


@pytest.mark.parametrize("sink", [JsonLines, TensorBoard])
def test_a_full_disk_is_one_line_and_what_was_written_is_read_again(
    sink: Callable[[TrackedRun], Sink],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    figures = [Figure("reward/round 1", step, step / 2) for step in range(10_000)]
    with mounted(tmp_path / "disk", "64k") as disk:
        tracked = TrackedRun("one", "one-1", {"run.seed": "1"}, disk.folder)
        outlet = Outlet("files", lambda: sink(tracked), figures)
        outlet.close(ended=True)
        outlet.join(60)
        assert [record.getMessage() for record in caplog.records] == [
            "files: No space left on device; it is told no more, the run goes on; the rest is told when the run "
            "is continued"
        ]
        assert "Traceback" not in capfd.readouterr().err
        disk.remount("size=4m")
        again = sink(tracked)
        assert 100 < len(again.held()) < len(figures)
        again.tell([figure for figure in figures if (figure.name, figure.step) not in again.held()])
        again.close(ended=True)
        assert {(figure.name, figure.step) for figure in figures} <= sink(tracked).held()
