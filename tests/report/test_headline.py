"""The first sentence of the page: what it claims, and what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.record.rows import OutcomeRow, PlannedRow, QuestionRow
from seal_ray.record.summary import UNTRAINED
from seal_ray.report.data import Run, read_run
from seal_ray.types import Failure, Outcome
from tests.report.build import FakeRun, control, finished
from tests.report.domains import in_turn_only
from tests.report.test_page import page_of, words_of


def measured(folder: Path, *levels: float, **more: int) -> FakeRun:
    """A run whose policy was measured at these levels, before and after each round."""
    run = FakeRun(str(folder), rounds=len(levels) - 1, **more)
    run.write_config()
    for number, level in enumerate(levels):
        run.evaluate(f"after round {number}" if number else UNTRAINED, level, number)
    return run


def read(run: FakeRun) -> Run:
    run.journal.flush()
    return read_run(run.url)


def test_a_rise_is_said_with_its_interval_and_beside_the_control_and_the_best_baseline(tmp_path: Path) -> None:
    finished(str(tmp_path))
    control(f"{tmp_path}/control")
    found = read_run(str(tmp_path)).headline
    assert found.tone == "good"
    assert found.text.startswith("Held-out accuracy rose from ")
    assert " after round 2: +" in found.text
    assert "(95% interval +" in found.text
    assert found.text.count("%") == 5
    assert "for the control and " in found.text
    assert found.text.endswith(" for the passage alone.")


def test_a_fall_is_no_success_and_the_best_policy_is_named(tmp_path: Path) -> None:
    found = read(measured(tmp_path, 0.8, 0.4)).headline
    assert found.tone == "bad"
    assert found.text.startswith("Held-out accuracy fell from ")
    assert "; the best was " in found.text
    assert found.text.endswith("with untrained self-edits.")


def test_a_difference_that_may_be_chance_is_no_change(tmp_path: Path) -> None:
    found = read(measured(tmp_path, 0.5, 0.5)).headline
    assert found.tone == "level"
    assert found.text.startswith("Held-out accuracy did not clearly change: from ")


def test_one_task_with_one_question_tells_nothing(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), rounds=1, test=1)
    run.write_config()
    for policy, (arm, reward) in enumerate([(UNTRAINED, 0.097), ("after round 1", 0.866)]):
        key = f"{policy}"
        run.journal.record(PlannedRow.at("evaluation", arm, "ferry", 0, 0, key, policy=policy, recipe="r", seed=0))
        run.journal.record(OutcomeRow.of(Outcome(key, ("The Harrow",), verdicts=(reward,), reward=reward)))
    run.journal.record(QuestionRow("q", "ferry", "prompt", "text", "base"))
    found = read(run)
    assert found.headline.tone == "level"
    assert found.headline.text == (
        "Too few to tell: over 1 held-out task with 1 question, all with questions that a model wrote, held-out "
        "accuracy was 9.7% with untrained self-edits and 86.6% after round 1. From 6 tasks on a difference can be told "
        "from chance."
    )


@pytest.mark.parametrize(("rounds", "sentence"), [(0, "This run only measures"), (2, "No round has been measured yet")])
def test_a_run_without_a_measured_round_says_whether_one_is_to_come(tmp_path: Path, rounds: int, sentence: str) -> None:
    run = FakeRun(str(tmp_path), rounds=rounds)
    run.write_config()
    run.evaluate(UNTRAINED, 0.5)
    found = read(run)
    assert found.headline.text.startswith("Held-out accuracy with untrained self-edits is ")
    assert sentence in found.headline.text
    assert "round 1" not in found.headline.text


def test_arms_of_which_every_trial_failed_are_no_figures(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path))
    run.write_config()
    for i in range(4):
        key = f"t{i}"
        run.journal.record(PlannedRow.at("evaluation", UNTRAINED, key, 0, 0, key, policy=0, recipe="", seed=0))
        run.journal.record(OutcomeRow.of(Outcome(key, reward=0.0, failure=Failure("data", "no module nonexist"))))
    found = read(run)
    assert (found.headline.tone, found.headline.text) == ("bad", "Nothing was measured: every trial failed.")
    assert found.void == ((UNTRAINED, "no module nonexist"),)
    assert found.alarm
    assert (found.alarm.failed, found.alarm.ended, found.alarm.count) == (4, 4, 4)


def test_what_has_not_ended_is_so_far(tmp_path: Path) -> None:
    run = measured(tmp_path, 0.3)
    run.evaluate("after round 1", 0.8, 1, ended=0.7)
    assert read(run).headline.text.startswith("So far, held-out accuracy rose from ")


def test_documents_that_were_learnt_are_held_to_the_base(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), rounds=0)
    run.write_config()
    for policy, (arm, level) in enumerate([("base", 0.1), ("in-context", 0.9), ("learnt, version 1", 0.6)]):
        run.evaluate(arm, level, policy)
    found = read(run).headline
    assert found.tone == "good"
    assert found.text.startswith("Held-out accuracy rose from ")
    assert " with the base to " in found.text
    assert " once the documents were learnt: +" in found.text
    assert found.text.endswith(" for the passage in its prompt.")


def test_documents_that_were_learnt_again_are_held_to_the_base_on_what_is_left_of_them(tmp_path: Path) -> None:
    """The passages that are gone, and what the version before was asked, say nothing of these documents."""
    run = FakeRun(str(tmp_path), rounds=0)
    run.write_config()
    for policy, (arm, level) in enumerate([("base", 0.1), ("learnt, version 1", 0.9)]):
        run.evaluate(arm, level, policy)
    run.test = 8
    run.evaluate("learnt, version 2", 0.6, 2)
    found = read(run)
    assert [(arm.name, arm.measured.n) for arm in found.arms] == [("base", 8), ("learnt, version 2", 8)]
    assert "8 held-out tasks" in found.headline.text
    assert "version 1" not in found.headline.text


def test_passages_in_turn_are_what_a_run_says_first_that_measures_nothing_else(tmp_path: Path) -> None:
    url = in_turn_only(tmp_path)
    found, (best, worst) = read_run(url), read_run(url).turns
    assert found.missing == ()
    assert found.headline.text == (
        f"Of 4 passages learnt one after another, the way “{best.way}” knew {100 * best.learnt:.1f}% just after each "
        f"and kept {100 * best.kept:.1f}% at the end, from {100 * best.before:.1f}% before, over 1 order; of 2 ways "
        f"“{worst.way}” kept least, {100 * worst.kept:.1f}%."
    )
    assert best.kept >= worst.kept
    page = page_of(url)
    assert page.count('class="heat"') == 2 * 5 * 4
    assert "after 4, passage 1: " in page
    words = words_of(page)
    assert "What the self-edits teach" not in words
    assert f"{best.way} 1 {100 * best.before:.1f}% {100 * best.learnt:.1f}% {100 * best.kept:.1f}%" in words
