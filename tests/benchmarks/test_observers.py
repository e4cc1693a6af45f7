"""What watches a run takes little of its driver: counted in calls, which no busy machine changes."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from benchmarks.observers import Found, measure, show

TRIALS = 250


class Calls:
    """Calls of Python functions on this thread: all, and those of what watches with all that they call in turn."""

    def __init__(self) -> None:
        self.all = self.watching = self._inside = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            self.all += 1
            file = frame.f_code.co_filename
            if self._inside or "seal_ray/observe/" in file or file.endswith("workers/metrics.py"):
                self._inside += 1
                self.watching += 1
        elif event == "return" and self._inside:
            self._inside -= 1


@pytest.fixture(scope="module")
def measured() -> tuple[Found, Calls]:
    calls = Calls()
    sys.setprofile(calls)
    try:
        return measure(TRIALS), calls
    finally:
        sys.setprofile(None)


def test_every_observer_is_measured_beside_the_driver(
    measured: tuple[Found, Calls], capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = measured
    assert found.trials == TRIALS
    assert found.observers.keys() == {"jsonl", "metrics", "progress", "trackers"}
    assert 0 < sum(found.observers.values()) < found.driver
    show(found, as_json=False)
    assert "share of what watches: " in capsys.readouterr().out


def test_what_watches_takes_few_calls_a_trial(measured: tuple[Found, Calls]) -> None:
    _, calls = measured
    assert 0 < calls.watching / TRIALS < 150
