"""Trackers are told what is on disk, and nothing else; what was there before comes first."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from seal_ray.events import Ended, Events, Measured
from seal_ray.observe import trackers
from seal_ray.observe.figures import Figure
from seal_ray.observe.sinks.base import TrackedRun
from seal_ray.observe.trackers import Trackers
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, PolicyRow
from seal_ray.record.storage import Store
from tests.runs import small_run

PLANNED = PlannedRow.at("evaluation", "base", "t", 0, 0, "a")
OUTCOME = OutcomeRow("a", reward=0.5, tokens=3)


class Shown:
    """A tracker that keeps what it is told beyond the process that told it, by the id of the run."""

    def __init__(self) -> None:
        self.figures: dict[str, list[Figure]] = {}
        self.ended: list[bool] = []
        self.told = threading.Semaphore(0)

    def __call__(self, run: TrackedRun) -> Shown:
        self._mine = self.figures.setdefault(run.id, [])
        return self

    def held(self) -> set[tuple[str, int]]:
        return {(each.name, each.step) for each in self._mine}

    def tell(self, figures: Sequence[Figure]) -> None:
        self._mine += figures
        self.told.release()

    def close(self, ended: bool) -> None:
        self.ended.append(ended)


def opened(folder: Path | str, sink: Shown) -> tuple[Journal, Events]:
    """A run's record and who watches it, as when it is begun or continued."""
    store = Store(str(folder))
    journal = Journal(store)
    journal.begin()
    return journal, Events(journal, [Trackers(small_run(Path(folder)), store, journal, {"shown": sink})])


def test_a_row_is_shown_once_it_is_on_disk(tmp_path: Path) -> None:
    sink = Shown()
    journal, events = opened(tmp_path, sink)
    events.emit(PLANNED)
    events.emit(OUTCOME)
    assert not any(sink.figures.values())
    journal.flush()
    assert sink.told.acquire(timeout=60)
    assert [*sink.figures.values()] == [[("tokens/trained", 1, 3), ("reward/evaluation/base", 1, 0.5)]]
    events.close()
    assert sink.ended == [False]


def test_what_was_lost_with_a_process_is_not_shown_and_what_is_done_instead_is(tmp_path: Path) -> None:
    sink = Shown()
    journal, events = opened(tmp_path, sink)
    events.emit(PLANNED)
    journal.flush()
    journal._rows["outcomes"].append(OutcomeRow("b", tokens=99).as_dict())  # killed before it was written
    _, again = opened(tmp_path, sink)
    again.emit(OUTCOME)
    again.emit(Measured(0))
    again.emit(Ended())
    again.close()
    (shown,) = sink.figures.values()
    assert shown == [
        ("tokens/trained", 1, 3),
        ("reward/evaluation/base", 1, 0.5),
        ("held-out accuracy/base", 0, 0.5),
    ]
    assert sink.ended == [True]


def test_a_tracker_that_is_added_later_is_told_the_whole_run_with_the_losses_of_every_step(tmp_path: Path) -> None:
    _, events = opened(tmp_path, Shown())
    events.emit(PolicyRow("p", version=1, rank=4, kept=2, losses=(3.0, 2.0)))
    events.close()
    sink = Shown()
    opened(tmp_path, sink)[1].close()
    assert [*sink.figures.values()] == [
        [("update 1/loss", 0, 3.0), ("update 1/loss", 1, 2.0), ("policy/rank", 1, 4), ("policy/kept", 1, 2)]
    ]


def test_a_tracker_that_hangs_holds_up_neither_the_record_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trackers, "_ENDED", 0.05)
    hangs, goes_on = Shown(), threading.Event()
    hangs.tell = lambda figures: goes_on.wait()  # type: ignore[assignment, method-assign, return-value]
    journal, events = opened(tmp_path, hangs)
    events.emit(OUTCOME)
    events.emit(Ended())
    events.close()
    assert len(list(journal.read(OutcomeRow))) == 1
    assert "shown: 1 figure not told in time; they are told when the run is continued" in caplog.text
    goes_on.set()
