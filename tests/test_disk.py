"""A run whose disk fills up, or may only be read, says so in a line, damages nothing, and continues afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.types import UserError
from tests.disks import mounted
from tests.runs import results, small_run

pytestmark = pytest.mark.usefixtures("local_ray", "forked_workers")
ONE_ROUND = ("--run.rounds", "1", "--workers.trainers", "1")


def test_a_full_disk_and_a_read_only_one(tmp_path: Path) -> None:
    quiet = tmp_path / "quiet"
    run(small_run(quiet, *ONE_ROUND), Silent())
    with mounted(tmp_path / "disk", "96k") as disk:
        config = small_run(disk.folder / "run", *ONE_ROUND)
        with pytest.raises(UserError, match=r"cannot write .*: No space left on device"):
            run(config, Silent())
        before = results(disk.folder / "run")
        assert before["self_edits"]
        assert before["rewards"].items() <= results(quiet)["rewards"].items()

        disk.remount("ro")
        with pytest.raises(UserError, match="cannot be written: Read-only file system"):
            run(config, Silent())
        assert results(disk.folder / "run") == before

        disk.remount("rw,size=64m")
        run(config, Silent())
        assert results(disk.folder / "run") == results(quiet)
