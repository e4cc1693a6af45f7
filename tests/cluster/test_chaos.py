"""Whatever is killed, the run ends as if nothing had been. `python -m tests.cluster.chaos` prints the table."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cluster.autoscaling import ROOT

pytestmark = pytest.mark.ray


def test_twelve_schedules_of_kills_each_end_with_the_keys_and_rewards_of_the_quiet_run() -> None:
    command = [sys.executable, "-m", "tests.cluster.chaos", "--schedules", "12", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])  # what Ray says of its ending comes before it
    assert [each["seed"] for each in found["each"] if not each["same_result"]] == []
    assert found["schedules"] == 12
    assert min(found["faults"].values()) >= 4, found["faults"]  # every kind was met, often
    assert found["at_once"] >= 6
