"""A tuning that is stopped or killed at any moment ends in the same table when its command is given again."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from seal_ray.cli.app import main
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, Row, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.rundir.tuned import verdict
from tests.chaos.alone import at_each_change
from tests.runs import CONFIG
from tests.warm import FORKING

SIZE = ["--workers.address", "in-process", "--domain.train", "8", "--domain.test", "4", "--trial.optim.epochs", "4"]
HOW = ["--trials", "30", "--axes", "rank=1,2,4,8 lr", "--on", "self-edits", "--quiet"]
TUNED = "tuned.json"


Moment = tuple[str, int]
"""A table, or the file that says what a tuning came to; and before the how-manieth row, or change, of one command."""
SAMPLING, COMPARING, ENDING = ("self_edits", 6), ("outcomes", 20), (TUNED, 4)


def tune(folder: Path, moment: Moment = ("", 0), told: int = 0) -> int | None:
    """The exit code of the command, which is sent this signal at the moment."""
    process = FORKING.Process(target=_tune, args=(folder, moment, told))
    process.start()
    process.join()
    return process.exitcode


def _tune(folder: Path, moment: Moment, told: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever works in the background ignores
    os.dup2(os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    where, wanted = moment
    left, append = [wanted], Journal.append

    def counted(self: Journal, table: str, row: dict[str, Any]) -> None:
        left[0] -= table == where
        if table == where and left[0] == 0:
            os.kill(os.getpid(), told)
        append(self, table, row)

    Journal.append = counted  # type: ignore[method-assign]
    if where == TUNED:
        at_each_change(f"{folder}/tune", TUNED, lambda n: os.kill(os.getpid(), told) if n == wanted else None)
    main(["tune", str(CONFIG), *SIZE, *HOW, "--run.dir", f"{folder}/run", "--into", f"{folder}/tune"])


def rows(folder: Path, kind: type[Row]) -> list[str]:
    return sorted(row.key for row in Journal(Store(f"{folder}/tune")).read(kind))


@pytest.mark.slow
def test_a_tuning_stopped_while_it_samples_while_it_compares_and_at_its_end_has_the_same_table(tmp_path: Path) -> None:
    quiet, told = tmp_path / "quiet", tmp_path / "told"
    quiet.mkdir()
    told.mkdir()
    assert tune(quiet) == 0
    assert "held to the start on 5 other training tasks" in (quiet / "said").read_text()
    ended = [
        tune(told, SAMPLING, signal.SIGKILL),
        tune(told, COMPARING, signal.SIGTERM),
        tune(told, ENDING, signal.SIGINT),
    ]
    assert ended == [-signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGINT]
    assert verdict(Store(f"{told}/tune")) == "", "so far nothing is said of what came of it"
    assert tune(told) == 0
    assert (told / "said").read_text() == (quiet / "said").read_text()
    assert [rows(told, kind) for kind in (SelfEditRow, OutcomeRow)] == [
        rows(quiet, kind) for kind in (SelfEditRow, OutcomeRow)
    ], "nothing is done twice, and nothing is missing"
