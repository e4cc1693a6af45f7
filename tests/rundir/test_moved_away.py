"""A run whose directory gets another name while it goes on: it ends at once, whole there, and goes on from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.events import Event
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.record.rows import OutcomeRow
from seal_ray.rundir.directory import recorded_config
from seal_ray.types import UserError
from tests.runs import results, small_run

pytestmark = pytest.mark.slow
ALONE = ("--run.rounds", "1", "--workers.address", "in-process", "--run.observers", "[]")


class Moves(Silent):
    """Gives the run's directory another name after so many outcomes."""

    def __init__(self, folder: Path, to: Path, after: int) -> None:
        self._folder, self._to, self._left = folder, to, after

    def on(self, event: Event) -> None:
        self._left -= isinstance(event, OutcomeRow)
        if not self._left and not self._to.exists():
            self._folder.rename(self._to)


def test_a_run_whose_directory_is_moved_writes_no_second_one_and_goes_on_where_it_is_now(tmp_path: Path) -> None:
    run(small_run(tmp_path / "quiet", *ALONE), Silent())
    before, now = tmp_path / "before", tmp_path / "now"
    with pytest.raises(UserError, match="before: was moved or removed"):
        run(small_run(before, *ALONE), Moves(before, now, after=6))
    assert not before.exists()
    run(recorded_config(str(now)), Silent())
    assert results(now) == results(tmp_path / "quiet")
