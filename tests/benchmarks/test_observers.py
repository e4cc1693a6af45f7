"""What watches a run takes little of its driver: counted in calls, which no busy machine changes."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from benchmarks.observers import Found, measure, show

TRIALS = 250


class Calls:
    """Calls on this thread of what watches, with all that they call in turn: Python's functions, and built-in ones."""

    def __init__(self) -> None:
        self.watching = self.built_in = self._inside = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            file = frame.f_code.co_filename
            if self._inside or "seal_ray/observe/" in file or file.endswith("workers/metrics.py"):
                self._inside += 1
                self.watching += 1
        elif event == "return" and self._inside:
            self._inside -= 1
        elif event == "c_call" and self._inside:
            self.built_in += 1


def counted(trials: int) -> tuple[Found, Calls]:
    calls = Calls()
    sys.setprofile(calls)
    try:
        return measure(trials), calls
    finally:
        sys.setprofile(None)


@pytest.fixture(scope="module")
def measured() -> tuple[Found, Calls]:
    return counted(TRIALS)


def test_every_observer_is_measured_beside_the_driver(
    measured: tuple[Found, Calls], capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = measured
    assert found.trials == TRIALS
    assert found.observers.keys() == {"jsonl", "metrics", "progress", "trackers"}
    assert 0 < sum(found.observers.values()) < found.driver
    show(found, as_json=False)
    assert "share of what watches: " in capsys.readouterr().out


def test_what_watches_takes_few_calls_for_one_more_trial(measured: tuple[Found, Calls]) -> None:
    (_, fewer), (_, more) = measured, counted(2 * TRIALS)  # what is opened once is in both
    assert 0 < (more.watching - fewer.watching) / TRIALS < 58
    assert 0 < (more.built_in - fewer.built_in) / TRIALS < 55
