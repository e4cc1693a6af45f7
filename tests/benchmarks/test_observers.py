"""What watches a run takes little of its driver: counted in calls, which no busy machine changes."""

from __future__ import annotations

import sys
import threading
from collections import defaultdict
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest

from benchmarks.observers import Found, measure, show

TRIALS = 250


@dataclass
class Of:
    """What one thread has called."""

    watching: int = 0
    built_in: int = 0
    inside: int = 0


class Calls:
    """Calls of what watches, with all that they call in turn: Python's functions, and built-in ones.

    Of all threads together, since it is a matter of time which of them draws up what a tracker is told.
    """

    def __init__(self) -> None:
        self._threads: defaultdict[int, Of] = defaultdict(Of)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        own = self._threads[threading.get_ident()]
        if event == "call":
            file = frame.f_code.co_filename
            if own.inside or "seal_ray/observe/" in file or file.endswith("workers/metrics.py"):
                own.inside += 1
                own.watching += 1
        elif event == "return" and own.inside:
            own.inside -= 1
        elif event == "c_call" and own.inside:
            own.built_in += 1

    def a_trial(self, fewer: Calls) -> tuple[float, float]:
        """Functions and built-in ones that one more trial takes, told from as many trials fewer as a unit has."""
        watching, built_in = (
            sum(getattr(own, kind) for own in self._threads.values())
            - sum(getattr(own, kind) for own in fewer._threads.values())
            for kind in ("watching", "built_in")
        )
        return watching / TRIALS, built_in / TRIALS


def counted(trials: int) -> tuple[Found, Calls]:
    calls = Calls()
    threading.setprofile(calls)
    sys.setprofile(calls)
    try:
        return measure(trials), calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.fixture(scope="module")
def measured() -> tuple[Found, Calls]:
    return counted(TRIALS)


def test_every_observer_is_measured_beside_the_driver(
    measured: tuple[Found, Calls], capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = measured
    assert found.trials == TRIALS
    assert found.observers.keys() == {"metrics", "progress", "trackers"}
    assert 0 < sum(found.observers.values()) < found.driver
    show(found, as_json=False)
    assert "share of what watches: " in capsys.readouterr().out


@pytest.mark.usefixtures("measured")  # what a process does once, it has done
def test_what_watches_takes_few_calls_for_one_more_trial() -> None:
    functions, built_in = counted(2 * TRIALS)[1].a_trial(counted(TRIALS)[1])
    assert 0 < functions < 60
    assert 0 < built_in < 55
