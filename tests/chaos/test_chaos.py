"""Whatever happens, the run ends as if nothing had. `make test-chaos` runs every schedule, this the most telling."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.chaos import schedules
from tests.cluster.autoscaling import ROOT


def test_every_schedule_has_a_name_of_its_own_and_there_are_forty() -> None:
    names = [schedule.name for schedule in schedules.ALL]
    assert len(set(names)) == len(names) >= 40
    assert set(schedules.TELLING) <= set(names)


@pytest.mark.ray
def test_the_most_telling_schedules_each_end_with_the_journal_of_the_quiet_run() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--afresh", "--json", "--only", *schedules.TELLING]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500)
    found = json.loads(done.stdout.splitlines()[-1])  # what Ray says of its ending comes before it
    assert {name: each["wrong"] for name, each in found.items() if each["wrong"]} == {}, done.stderr
    assert found.keys() == set(schedules.TELLING)
    assert all(each["met"] for each in found.values())
