"""More workers do more, and the driver is no bottleneck. `python -m tests.cluster.scaling` prints the table."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.cluster.autoscaling import ROOT

pytestmark = pytest.mark.ray


TRIALS = 10_000
"""Of which the driver's cost is taken. Fewer leave less memory behind than allocators hold in advance."""


def measure(*more: str) -> Any:
    command = [sys.executable, "-m", "tests.cluster.scaling", "--json", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # of a busy machine Ray may say something first


@pytest.fixture(scope="module")
def measured() -> Any:
    return measure("--widths", "8", "--trials", str(TRIALS))


def test_eight_workers_do_at_least_nine_tenths_of_what_their_sleeping_alone_allows(measured: Any) -> None:
    (row,) = measured["scaling"]
    assert row["workers"] == 8
    assert row["efficiency"] >= 0.9


def test_a_trial_costs_the_driver_little_beside_its_calls_of_workers_and_next_to_no_memory(measured: Any) -> None:
    driver = measured["driver"]
    assert driver["trials"] == TRIALS
    # Held against what Ray takes in the same minute: seconds alone would say how busy the machine is. It is 0.5 to 0.9
    # of that at rest. What else the machine does falls on either of the two, and brought four tries in a row to 1.3 to
    # 1.5, so the least of many is looked at; a share needs fewer trials than what is left of each.
    shares = [driver["own_share"]]
    while min(shares) > 1.2 and len(shares) < 12:
        shares.append(measure("--widths", "--trials", str(TRIALS // 4))["driver"]["own_share"])
    assert min(shares) <= 1.2
    # A key and its scores stay, no text: the shortest of answers kept for each would be more than this.
    assert driver["memory_bytes_per_trial"] < 4096
