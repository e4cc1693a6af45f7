"""`seal-ray watch`: a run is followed from beside, through a kill and to its end, and what is said agrees with it."""

from __future__ import annotations

import io
import itertools
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from seal_ray.cli.app import main
from seal_ray.looking.explained import explain
from seal_ray.looking.pace import pace, rate
from seal_ray.looking.picture import Picture, news
from seal_ray.looking.screen import shown
from seal_ray.looking.seen import look
from seal_ray.looking.stages import Stage, is_whole, stages
from seal_ray.looking.watching import Watch, follow
from seal_ray.loop.run import run
from seal_ray.policy.unfinished import Kept
from seal_ray.record.journal import Journal
from seal_ray.record.lease import Lease
from seal_ray.record.rows import OutcomeRow, PlannedRow, SpanRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import summarize
from seal_ray.types import UserError
from seal_ray.workers.unfinished import Unfinished
from tests.gated import Gate
from tests.report.build import FakeRun, finished
from tests.runs import CONFIG, SMALL, kill_when, small_run
from tests.warm import Command


class Story:
    """A run in a process of its own, which is killed and goes on while it is watched; each wait is the next chapter."""

    def __init__(self, folder: Path, place: str = "") -> None:
        self.place, self.gate, self.log = (
            place or str(folder),
            Gate(folder.with_name("gate")),
            folder.with_suffix(".log"),
        )
        self.chapters = [self.go_on, self.be_killed, self.go_on_after_all, self.end]
        self.processes: list[Command] = []

    def begin(self, trials: int) -> None:
        self.gate.allow(trials)
        quick = ("--workers.address", "in-process", "--model.dtype", "float32")
        arguments = [*SMALL, "--run.dir", self.place, *quick, *self.gate.arguments]
        self.processes.append(Command(["run", str(CONFIG), *arguments, "--quiet"], self.log))

    def until(self, trials: int) -> None:
        """Until so many trials have come on record; the run waits then for what the gate still holds."""
        process = self.processes[-1]
        while process.poll() is None:
            try:
                if self.gate.holds and len(Journal(Store(self.place)).table("outcomes")) >= trials:
                    return
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError(self.log.read_text())

    def __call__(self, seconds: float) -> None:
        self.chapters.pop(0)()

    def go_on(self) -> None:
        self.gate.allow(12)
        self.until(12)

    def be_killed(self) -> None:
        assert kill_when(self.processes[-1], lambda: True)

    def go_on_after_all(self) -> None:
        self.begin(5)
        self.until(17)

    def end(self) -> None:
        self.gate.open()
        assert self.processes[-1].wait(300) == 0, self.log.read_text()


@pytest.mark.slow
def test_a_run_that_is_killed_and_goes_on_is_followed_to_its_end_and_the_numbers_are_those_of_its_journal(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path / "run")
    story.begin(4)
    story.until(4)
    pictures = list(follow(story.place, 2.0, story))
    assert [each.state for each in pictures] == ["running", "running", "stopped", "running", "finished"]
    counts = [len(each.seen.outcomes) for each in pictures]
    assert counts == sorted(counts)
    assert counts[:4] == [4, 12, 12, 17]
    assert "seal-ray resume" in pictures[2].waiting
    assert "trials (" in pictures[1].waiting
    agrees_with_its_journal(pictures[-1], story.place)


@pytest.mark.slow
def test_a_run_that_writes_to_object_storage_is_followed_to_its_end(bucket: str, tmp_path: Path) -> None:
    story = Story(tmp_path / "run", bucket)
    story.begin(4)
    story.until(4)
    story.chapters = [story.go_on, story.end]
    pictures = list(follow(bucket, 10.0, story))
    assert [len(each.seen.outcomes) for each in pictures][:2] == [4, 12]
    assert pictures[0].at_work is None, "its lease was seen once"
    assert pictures[1].at_work is not False
    assert pictures[-1].state == "finished"
    agrees_with_its_journal(pictures[-1], bucket)


def agrees_with_its_journal(picture: Picture, place: str) -> None:
    journal = Journal(Store(place))
    planned, outcomes = list(journal.read(PlannedRow)), {row.key: row for row in journal.read(OutcomeRow)}
    expected = Counter(f"evaluation: {r.arm}" if r.stage == "evaluation" else f"{r.stage}: trials" for r in planned)
    trials = {stage.name: stage for stage in picture.stages if stage.kind == "trial"}
    assert {name: stage.done for name, stage in trials.items()} == dict(expected)
    assert all(stage.done == stage.total and not stage.at_most for stage in picture.stages)
    for arm, measured in summarize(journal).items():
        assert trials[f"evaluation: {arm}"].reward == pytest.approx(measured.accuracy)
    for number in (1, 2):
        rewards = [outcomes[row.trial].reward for row in planned if row.stage == f"round {number}"]
        assert trials[f"round {number}: trials"].reward == pytest.approx(np.mean(rewards))
        written = sum(row["stage"] == f"round {number}" for row in journal.rows("self_edits"))
        assert next(s.done for s in picture.stages if s.name == f"round {number}: self-edits") == written == 12
    assert picture.failures == f"failures: none of {len(outcomes)} trials"
    for row, line in zip(journal.rows("policies"), picture.updates, strict=True):
        assert f"loss {row['first_loss']:.3f} to {row['last_loss']:.3f}" in line
    assert (picture.waiting, picture.left) == ("waiting for: nothing, the run has ended", "left: nothing")


def under_way(url: str, **more: int) -> FakeRun:
    """A run that tries the self-edits of its first round."""
    run = FakeRun(url, **more)
    run.write_config()
    for arm in ("base", "passage only"):
        run.evaluate(arm, 0.3)
    run.evaluate("untrained self-edits", 0.5, ended=0.5)
    for index in range(3):
        run.edit("round 1", "train-000", index, 0)
        run.trial("round 1", "self-edits", "train-000", index, 0, 0, 0.5)
    run.fail("round 1", "train-001", 0, "cannot be parsed")
    run.journal.flush()
    return run


def done(picture: Picture, name: str) -> Stage:
    return next(stage for stage in picture.stages if stage.name == name)


def test_stages_say_how_much_is_done_of_what_the_config_asks_for(tmp_path: Path) -> None:
    under_way(str(tmp_path))
    picture = Watch(str(tmp_path)).picture()
    assert (done(picture, "evaluation: base").done, done(picture, "evaluation: base").total) == (12, 12)
    trials = done(picture, "round 1: trials")
    assert (trials.done, trials.total, trials.at_most) == (4, 8 * 5 * 3, False)
    assert (done(picture, "round 2: trials").total, done(picture, "round 2: trials").begun) == (120, False)
    assert not any(line.startswith("questions:") for line in picture.lines())
    assert picture.failures == f"failures: 1 data of {len(picture.seen.outcomes)} trials"
    assert picture.state == "stopped"


def test_a_race_is_at_most_so_many_trials(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path))
    run.config = replace(run.config, selection=replace(run.config.selection, race=7))
    run.write_config()
    run.edit("round 1", "train-000", 0, 0)
    run.journal.flush()
    trials = done(Watch(str(tmp_path)).picture(), "round 1: trials")
    assert (trials.total, trials.at_most) == (56, True)


def test_of_tasks_that_nobody_counted_what_is_done_is_said_so_far(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), train=0, test=0)
    run.write_config()
    run.edit("round 1", "train-000", 0, 0)
    run.journal.flush()
    said = Watch(str(tmp_path)).picture().lines()
    assert [line.split() for line in said if line.startswith("round 1: self-edits")] == [
        ["round", "1:", "self-edits", "1", "so", "far", "–"]
    ]
    assert "for want of a pace or a size" in said[-1]


def test_what_is_left_is_counted_at_the_pace_of_the_last_minutes() -> None:
    spans = [SpanRow.of("trial", "t", 1000.0 + 2 * i, 1002.0 + 2 * i) for i in range(500)]
    assert rate(spans, "trial") == pytest.approx(0.5, rel=0.02)
    assert rate(spans, "sample") is None


def test_updates_come_on_top_and_what_has_no_pace_is_not_counted(tmp_path: Path) -> None:
    run = under_way(str(tmp_path))
    picture = Watch(str(tmp_path)).picture()
    assert picture.pace.without == ("2 updates",)
    assert picture.left.endswith("for want of a pace or a size: 2 updates")
    before = picture.pace.seconds
    assert before
    run.update(1)
    run.journal.flush()
    after = pace((found := Watch(str(tmp_path)).picture()).seen, found.stages)
    assert after.without == ()
    assert after.seconds
    assert after.seconds != before


def test_losses_of_an_update_under_way_are_those_that_were_kept(tmp_path: Path) -> None:
    run = under_way(str(tmp_path))
    run.explore(1, 0.5)
    run.journal.flush()
    watch = Watch(str(tmp_path))
    assert watch.picture().updates == ["update of round 1 under way: its losses come on record when it ends"]
    Kept(Store(str(tmp_path)), "some policy").keep(Unfinished((3.0, 2.0, 1.5), (np.zeros(2),)))
    (line,) = Watch(str(tmp_path)).picture().updates
    assert line == "update under way: 3 steps kept, the last losses 3.000, 2.000, 1.500"


def test_a_record_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    run = under_way(str(tmp_path))
    times = itertools.count(0, 100)
    watch = Watch(str(tmp_path), lambda: next(times))
    first, second = watch.picture(), watch.picture()
    assert second.seen is first.seen
    assert second.still > 60
    run.update(1)
    run.journal.flush()
    third = watch.picture()
    assert third.seen.versions == {1}
    assert third.still == 0


def test_watching_a_run_in_object_storage_sees_who_renews_its_lease(bucket: str) -> None:
    under_way(bucket)
    lease = Lease.acquire(Store(bucket), 30, renewed=False)
    watch = Watch(bucket)
    assert watch.picture().at_work is None
    lease.renew()
    assert watch.picture().state == "running"
    lease.close()
    assert watch.picture().state == "stopped"


def test_a_log_gets_what_is_new_and_the_whole_picture_at_the_end(tmp_path: Path) -> None:
    run = under_way(str(tmp_path))
    first = Watch(str(tmp_path)).picture()
    run.fail("round 1", "train-002", 0, "cannot be parsed")
    run.journal.flush()
    second = Watch(str(tmp_path)).picture()
    assert news(first, first) == []
    assert [line for line in news(first, second) if "left" not in line] == [
        "round 1: trials: 5 of 120, mean reward 30.0%",
        f"failures: 2 data of {len(second.seen.outcomes)} trials",
    ]
    said = io.StringIO()
    shown([first, second], Console(file=said, width=200))
    assert said.getvalue().rstrip().endswith("\n".join(line.rstrip() for line in second.lines()))


def test_a_terminal_is_drawn_over_and_keeps_the_last_picture(tmp_path: Path) -> None:
    finished(str(tmp_path))
    said = io.StringIO()
    shown(follow(str(tmp_path), 1.0), Console(file=said, force_terminal=True, width=120, height=60))
    assert "waiting for: nothing, the run has ended" in said.getvalue()


def test_the_command_shows_a_run_once_or_until_it_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    under_way(str(tmp_path / "half"))
    with pytest.raises(SystemExit, match="0"):
        main(["watch", str(tmp_path / "half"), "--once"])
    assert capsys.readouterr().out.splitlines()[0].endswith("half: stopped")
    finished(str(tmp_path / "whole"))
    with pytest.raises(SystemExit, match="0"):
        main(["watch", str(tmp_path / "whole")])
    assert capsys.readouterr().out.splitlines()[-1] == "left: nothing"
    with pytest.raises(UserError, match="no run is here"):
        Watch(str(tmp_path / "nowhere")).picture()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.slow
def test_passages_learnt_in_turn_are_counted_to_their_end_in_every_way(tmp_path: Path) -> None:
    alone = ("--run.rounds", "0", "--evaluation.samples", "0", "--evaluation.baselines", "[]")
    turns = ("--continual.sequences", "1", "--continual.passages", "3", "--continual.ask_every", "2")
    ways = ("--continual.ways", '["none", "joint", "library"]', "--workers.address", "in-process")
    run(small_run(tmp_path / "run", *alone, *turns, *ways))
    seen = look(Store(str(tmp_path / "run")))
    assert is_whole(seen)
    assert {stage.name: stage.left for stage in stages(seen)}["continual: trials"] == 0
    known = next(row.trial for row in seen.planned if row.stage == "continual, known before")
    found = explain(str(tmp_path / "run"), known)
    assert found.task is not None
    assert not found.hindrance
