"""TensorBoard where nothing more can be written: the run goes on, and one line says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.observe.figures import Figure
from seal_ray.observe.outlet import Outlet
from seal_ray.observe.sinks.base import TrackedRun
from seal_ray.observe.sinks.tensorboard import TensorBoard
from tests.disks import mounted


def test_a_full_disk_is_one_line_and_what_was_written_is_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    figures = [Figure("reward/round 1", step, step / 2) for step in range(10_000)]
    with mounted(tmp_path / "disk", "64k") as disk:
        tracked = TrackedRun("one", "one-1", {"run.seed": "1"}, disk.folder)
        outlet = Outlet("tensorboard", lambda: TensorBoard(tracked), figures)
        outlet.close(ended=True)
        outlet.join(60)
        assert [record.getMessage() for record in caplog.records] == [
            "tensorboard: No space left on device; it is told no more, the run goes on; the rest is told when the run "
            "is continued"
        ]
        assert "Traceback" not in capfd.readouterr().err
        disk.remount("size=4m")
        again = TensorBoard(tracked)
        assert 100 < len(again.held()) < len(figures)
        again.tell([figure for figure in figures if (figure.name, figure.step) not in again.held()])
        again.close(ended=True)
        assert {(figure.name, figure.step) for figure in figures} <= TensorBoard(tracked).held()
