"""Self-edits opened: their questions and verdicts, those that earned the same, and the texts behind failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seal_ray.domains.drawing import training_tasks
from seal_ray.domains.registry import load_domain
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.summary import UNTRAINED
from seal_ray.report import data
from seal_ray.report.squares import squares
from seal_ray.types import Outcome, SelfEdit
from tests.report.build import FakeRun
from tests.report.test_page import page_of, words_of

HALVES = (0.09, 0.22, 0.5, 0.9, 1.0)


def test_a_self_edit_opens_to_its_questions_right_answers_and_verdicts_and_its_task_has_a_title(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), train=2, rounds=1)
    run.write_config()
    for task in training_tasks(run.config, load_domain(run.config), 1):
        for index in range(2):
            edit = SelfEdit(task.id, index, 0, "prompt", f"note {index}", 7, 3)
            run.journal.record(SelfEditRow.of(edit, "round 1", "s"))
            key, count = f"{task.id}/{index}", len(task.questions)
            run.journal.record(
                PlannedRow.at("round 1", "self-edits", task.id, index, 0, key, policy=0, recipe="r", seed=0)
            )
            verdicts = tuple(0.25 + 0.5 * index for _ in range(count))
            answers = tuple(f"answer {i}" for i in range(count))
            run.journal.record(OutcomeRow.of(Outcome(key, answers, verdicts=verdicts, reward=verdicts[0])))
    run.journal.flush()
    pair = data.read_run(str(tmp_path)).pairs.open[0]
    tasks = {task.title: task for task in training_tasks(run.config, load_domain(run.config), 1)}
    task = tasks[pair.title]
    assert [each.gold for each in pair.best.asked] == [question.answer for question in task.questions]
    assert [each.answers for each in pair.best.asked][:2] == [(("answer 0", 0.75),), (("answer 1", 0.75),)]
    assert all(each.question for each in pair.best.asked)
    words = words_of(page_of(str(tmp_path)))
    assert "right " + task.questions[0].answer + " 0.75 answer 0" in words


def test_of_sources_that_are_not_what_they_were_nothing_is_said(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), train=1)
    passages = tmp_path / "passages.jsonl"
    passages.write_text(json.dumps({"title": "Ferry", "context": "The Harrow.", "questions": []}) + "\n")
    tree = {"model": {"path": "x"}, "domain": {"name": "knowledge", "options": {"train": str(passages)}}}
    (tmp_path / "config.json").write_text(
        json.dumps({"config": tree, "identity": {"contents": {"domain.options.train": "another"}}})
    )
    run.explore(1, 0.5)
    run.journal.flush()
    found = data.read_run(str(tmp_path)).pairs.open[0]
    assert found.title == "train-000"
    assert {each.question for each in found.best.asked} == {""}


@pytest.mark.parametrize("tried", [True, False])
def test_self_edits_are_shown_where_all_earned_the_same_or_none_was_tried(tmp_path: Path, tried: bool) -> None:
    run = FakeRun(str(tmp_path), train=9)
    run.write_config()
    for i in range(9):
        for index in range(2):
            run.edit("round 1", f"train-{i:03d}", index, 0, f"what was written {i}")
            if tried:
                run.trial("round 1", "self-edits", f"train-{i:03d}", index, 0, 0, 0.0)
    run.journal.flush()
    found = data.read_run(str(tmp_path)).pairs
    assert (found.open, len(found.samples), found.level) == ((), 5, 9 if tried else 0)
    assert "what was written 4" in words_of(page_of(str(tmp_path)))


def test_a_held_out_task_shows_what_was_written_before_and_after(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), test=7, rounds=1)
    run.write_config()
    run.evaluate(UNTRAINED, 0.2)
    run.evaluate("after round 1", 0.8, 1)
    run.journal.flush()
    found = data.read_run(str(tmp_path))
    assert len(found.changes) == 6
    assert [name for name, _ in found.changes[0].written] == [UNTRAINED, "after round 1"]
    gains = [line.change for line in found.held_out.lines]
    assert found.changes[0].gain == max(gains, key=lambda gain: gain or 0)
    assert gains == sorted(gains, key=lambda gain: -abs(gain or 0))
    assert found.held_out.arms == (UNTRAINED, "after round 1")


def test_a_failure_names_the_texts_that_caused_it(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), train=1)
    run.write_config()
    run.explore(1, 0.5)
    for index in (8, 9, 10):
        run.edit("round 1", "train-000", index, 0, f"{{broken {index}")
        run.fail("round 1", "train-000", index, "no JSON")
    run.journal.flush()
    (found,) = data.read_run(str(tmp_path)).failures
    assert [cause.text for cause in found.causes] == ["{broken 8", "{broken 9"]
    assert "16.7% of the trials failed" in words_of(page_of(str(tmp_path)))


def test_a_square_is_as_full_as_its_answer_is_probably_right(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), train=1)
    run.edit("round 1", "train-000", 0, 0, "a note")
    run.journal.record(PlannedRow.at("round 1", "self-edits", "train-000", 0, 0, "k", policy=0, recipe="r", seed=0))
    run.journal.record(OutcomeRow.of(Outcome("k", ("x",) * 5, verdicts=HALVES, reward=0.5)))
    run.journal.flush()
    drawn = str(squares(data.read_run(str(tmp_path)).pairs.samples[0].edit))
    assert 'aria-label="3 of 5 answers right"' in drawn
    assert [f"question {i + 1}: {verdict:.2f}" in drawn for i, verdict in enumerate(HALVES)] == [True] * 5
    assert 'y="0" width="11" height="11"' in drawn
    assert 'y="5.5" width="11" height="5.5"' in drawn
