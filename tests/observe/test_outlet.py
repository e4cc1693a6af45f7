"""A tracker may be slow, broken or full: whoever has figures for it goes on, and is told what it was not told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from seal_ray.observe.figures import Figure
from seal_ray.observe.outlet import Outlet

FIGURES = [Figure("loss", step, float(step)) for step in range(5)]


class Remembers:
    """A tracker that holds some figures, and waits before each piece until it may go on."""

    def __init__(self, held: Sequence[Figure] = (), error: Exception | None = None) -> None:
        self._held = {(each.name, each.step) for each in held}
        self._error, self.may, self.asked = error, threading.Event(), threading.Event()
        self.told: list[Figure] = []
        self.ended: bool | None = None

    def held(self) -> set[tuple[str, int]]:
        return self._held

    def tell(self, figures: Sequence[Figure]) -> None:
        self.asked.set()
        self.may.wait()
        if self._error:
            raise self._error
        self.told += figures

    def close(self, ended: bool) -> None:
        self.ended = ended


def told(sink: Remembers, *batches: Sequence[Figure], earlier: Sequence[Figure] = (), most: int = 100) -> Outlet:
    outlet = Outlet("mlflow", lambda: sink, earlier, most)
    for batch in batches:
        outlet.tell(batch)
    return outlet


def test_what_a_tracker_holds_it_is_not_told_again() -> None:
    sink = Remembers(held=FIGURES[:2])
    sink.may.set()
    outlet = told(sink, FIGURES[3:], FIGURES[3:], earlier=FIGURES[:3])
    outlet.close(ended=True)
    outlet.join(60)
    assert (sink.told, sink.ended) == (FIGURES[2:], True)


def test_a_tracker_that_hangs_keeps_nobody_waiting_and_what_it_missed_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = Remembers()
    outlet = told(sink, FIGURES[:1])
    assert sink.asked.wait(60)
    start = time.monotonic()
    outlet.tell(FIGURES[1:])
    outlet.close(ended=True)
    outlet.join(0.01)
    assert time.monotonic() - start < 5
    assert "mlflow: 5 figures not told in time; they are told when the run is continued" in caplog.text
    sink.may.set()


def test_what_has_no_room_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    sink = Remembers()
    outlet = told(sink, FIGURES[:1], earlier=FIGURES[4:], most=3)
    assert sink.asked.wait(60)
    outlet.tell([Figure("rank", step, 1.0) for step in range(10)])
    sink.may.set()
    outlet.close(ended=False)
    outlet.join(60)
    assert [each.name for each in sink.told] == ["loss", "loss", "rank", "rank"]
    assert "mlflow: 8 figures not told in time" in caplog.text


@pytest.mark.parametrize("opens", [True, False])
def test_a_tracker_that_fails_is_left_out_with_one_line(opens: bool, caplog: pytest.LogCaptureFixture) -> None:
    sink = Remembers(error=ConnectionError("no route\nto the host"))
    sink.may.set()

    def refuse() -> Remembers:
        raise ConnectionError("no route\nto the host")

    opened: Callable[[], Remembers] = (lambda: sink) if opens else refuse
    outlet = Outlet("mlflow", opened, FIGURES)
    outlet.close(ended=True)
    outlet.join(60)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line == ("mlflow: no route; it is told no more, the run goes on; the rest is told when the run is continued")
