"""What a kill costs is measured: a journal that lets rows lie is found out, and a fault that never came is told."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.survival import Survival
from tests.chaos.victim import done_twice, noted
from tests.cluster.autoscaling import ROOT
from tests.record.journals import add, journal_in, keys

DRIVER = """
import os, signal, sys
from pathlib import Path
from seal_ray.record import journal
from tests.chaos.victim import *
from tests.record.journals import *

folder = Path(sys.argv[1])
journal.FLUSH_SECONDS = float(sys.argv[2])
with noted(folder) as clock:
    add(journal_in(folder), "k1", "k2")
    enough = clock.now() + 1.2
    while clock.now() < enough:
        pass
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("flushes_after", "twice"), [(0.7, 0), (3600, 2)])
def test_rows_that_a_journal_keeps_in_memory_for_more_than_a_second_are_found_to_be_done_twice(
    tmp_path: Path, flushes_after: float, twice: int
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", DRIVER, str(folder), str(flushes_after)]
    assert subprocess.run(command, cwd=ROOT, timeout=300).returncode == -signal.SIGKILL
    with noted(folder):  # this process is the next driver
        journal = journal_in(folder)
        add(journal, *({"k1", "k2"} - set(keys(journal))))
        journal.flush()
    survival = Survival()
    survival.again, survival.oldest = done_twice(folder)
    survival.hold_to_a_second()
    assert survival.again == twice
    assert len(survival.wrong) == (twice > 0)


def test_a_schedule_one_of_whose_faults_was_never_met_is_not_survived() -> None:
    met, missed = Survival(met=["trainer", "driver", "driver"]), Survival(met=["trainer", "driver"])
    for survival in (met, missed):
        survival.hold(["driver", "trainer", "driver"])
    assert met.wrong == []
    assert missed.wrong == ["it never met: driver"]
