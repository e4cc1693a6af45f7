"""Whoever watches a run is told what happens in it, and can do it no harm."""

from __future__ import annotations

import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seal_ray.config import load
from seal_ray.events import Advanced, Event, Events, StageBegan, UpdateTrained
from seal_ray.loop.run import run
from seal_ray.observe import observers
from seal_ray.observe.figures import Figure
from seal_ray.observe.progress import LogProgress, TerminalProgress, pace
from seal_ray.observe.sinks.base import TrackedRun
from seal_ray.observe.sinks.jsonl import JsonLines
from seal_ray.record.journal import Journal
from seal_ray.record.rows import ROWS, OutcomeRow, PlannedRow, PolicyRow, Row, SpanRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import summarize
from seal_ray.types import UserError
from tests.observe import readers
from tests.runs import CONFIG, small_run

pytestmark = pytest.mark.slow

IN_PROCESS = ("--workers.address", "in-process", "--run.rounds", "1")


class Remembers:
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.closed = 0

    def on(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed += 1


class Breaks(Remembers):
    """Fails at its third event."""

    def on(self, event: Event) -> None:
        super().on(event)
        if len(self.events) == 3:
            raise ValueError("disk full")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Remembers, Breaks]:
    folder, remembers, breaks = tmp_path_factory.mktemp("watched") / "run", Remembers(), Breaks()
    run(small_run(folder, *IN_PROCESS, "--run.observers", '["jsonl", "tensorboard"]'), breaks, remembers)
    return folder, remembers, breaks


def test_an_observer_is_told_of_every_row_that_goes_on_record(watched: tuple[Path, Remembers, Breaks]) -> None:
    folder, remembers, _ = watched
    journal = Journal(Store(str(folder)))
    told = Counter(type(event) for event in remembers.events if isinstance(event, Row))
    assert told == Counter({kind: count for kind in ROWS if (count := len(list(journal.read(kind))))})
    assert {OutcomeRow, PlannedRow, PolicyRow, SpanRow} <= told.keys()
    assert remembers.closed == 1


def test_every_stage_comes_to_its_announced_end(watched: tuple[Path, Remembers, Breaks]) -> None:
    _, remembers, _ = watched
    announced = {event.stage: event.total for event in remembers.events if isinstance(event, StageBegan)}
    done: Counter[str] = Counter()
    for event in remembers.events:
        if isinstance(event, Advanced):
            done[event.stage] += event.by
    assert dict(done) == announced


def test_an_observer_that_fails_is_left_out_and_the_run_and_the_others_go_on(
    watched: tuple[Path, Remembers, Breaks],
) -> None:
    _, remembers, breaks = watched
    assert len(breaks.events) == 3
    assert remembers.events[:3] == breaks.events
    assert len(remembers.events) > 3


def test_the_file_of_lines_has_the_points_of_the_board(watched: tuple[Path, Remembers, Breaks]) -> None:
    lines, board = (sorted(read(watched[0], {})) for read in (readers.jsonl, readers.tensorboard))
    assert lines == [(name, step, pytest.approx(value, rel=1e-6)) for name, step, value in board]


def test_a_line_of_a_loss_that_is_no_number_says_null(tmp_path: Path) -> None:
    sink = JsonLines(TrackedRun("one", "one-1", {}, tmp_path))
    sink.tell([Figure("update 1/loss", 0, math.nan)])
    sink.close(ended=False)
    assert '"value": null' in (tmp_path / "metrics.jsonl").read_text()


def test_the_board_has_the_losses_of_the_update_and_the_mean_reward_of_each_stage(
    watched: tuple[Path, Remembers, Breaks],
) -> None:
    folder, remembers, _ = watched
    board: Any = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    (trained,) = (event for event in remembers.events if isinstance(event, UpdateTrained))
    assert [scalar.value for scalar in board.Scalars("update 1/loss")] == pytest.approx(trained.losses, rel=1e-6)
    ended = {e.key: e.reward or 0.0 for e in remembers.events if isinstance(e, OutcomeRow)}
    rewards = [ended[e.trial] for e in remembers.events if isinstance(e, PlannedRow) and e.stage == "round 1"]
    last = board.Scalars("reward/round 1")[-1]
    assert (last.step, last.value) == (len(rewards), pytest.approx(sum(rewards) / len(rewards)))
    (accuracy,) = board.Scalars("held-out accuracy/passage only")
    assert accuracy.value == pytest.approx(summarize(Journal(Store(str(folder))))["passage only"].accuracy)


def test_what_is_logged_lies_below_the_runs_directory(watched: tuple[Path, Remembers, Breaks]) -> None:
    log = (watched[0] / "logs/run.log").read_text()
    assert log.startswith("=== ")
    assert "WARNING seal_ray.events [round=1" in log  # an observer that broke
    assert "Breaks: ValueError: disk full" in log


def test_a_run_continues_under_other_observers(watched: tuple[Path, Remembers, Breaks]) -> None:
    again = Remembers()
    run(small_run(watched[0], *IN_PROCESS), again)
    assert not any(isinstance(event, Row) for event in again.events)


def test_lines_of_progress_take_it_that_a_stage_turns_out_to_have_more_pieces(caplog: pytest.LogCaptureFixture) -> None:
    lines = LogProgress(every=0.0)
    with caplog.at_level("INFO"):
        for event in (StageBegan("asked", 2), Advanced("asked", -2), *[Advanced("asked")] * 4):
            lines.on(event)
    assert [line.split(",")[0] for line in caplog.messages] == ["asked: 2 to do", "asked: 1/2", "asked: 2/2"]


@pytest.mark.parametrize(("rate", "said"), [(12.34, "12.3/s"), (0.1, "0.1/s"), (0.04, "2.4/min")])
def test_a_slow_pace_is_told_by_the_minute_and_never_as_none(rate: float, said: str) -> None:
    assert pace(rate) == said


def test_the_stage_that_goes_on_is_in_sight_however_many_were_before_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"FORCE_COLOR": "1", "LINES": "10", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    bars, said = TerminalProgress(), ""
    for number in range(30):
        said += capsys.readouterr().err
        bars.begin(f"stage {number} of 30", 2)
        if number < 29:
            bars.advance(f"stage {number} of 30", 2)
    last = capsys.readouterr().err
    bars.advance("stage 0 of 30", -1)  # which scrolled away
    bars.close()
    assert "stage 29 of 30" in last
    assert all(f"stage {number} of 30" in said for number in range(29))


def test_observers_that_cannot_watch_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown run.observers 'jsonnl'; did you mean 'jsonl'\?"):
        run(small_run(tmp_path / "run", *IN_PROCESS, "--run.observers", '["jsonnl"]'))
    assert not (tmp_path / "run").exists()


def test_a_tracker_whose_package_is_missing_is_refused_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()  # as W&B leaves one, which is no package
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [""])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(UserError, match=r"'wandb' needs its package: pip install \"seal-ray\[wandb\]\""):
        observers.check(small_run(tmp_path / "run", "--run.observers", '["wandb"]'))


@pytest.mark.parametrize("name", ["jsonl", "tensorboard"])
def test_what_appends_to_a_file_is_refused_in_object_storage(name: str) -> None:
    with pytest.raises(UserError, match=f"{name!r} writes a file as it goes, which object storage cannot"):
        observers.check(load(CONFIG, ["--run.dir", "s3://bucket/run", "--run.observers", f'["{name}"]']))


def test_what_the_record_cannot_take_ends_the_run(tmp_path: Path) -> None:
    class Full(Remembers):
        def on(self, event: Event) -> None:
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        Events(Full()).emit(StageBegan("round 1: trials", 4))
