from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.record.storage import Store
from seal_ray.report import data
from seal_ray.report.text_stats import writing
from seal_ray.types import Failure, Outcome
from tests.report.build import FakeRun, control


def journal_of(folder: Path, rewards: dict[str, list[list[float]]], kept: dict[str, int]) -> Journal:
    """One round with exactly these rewards: task -> self-edit -> seed."""
    journal = Journal(Store(str(folder)))
    for task, edits in rewards.items():
        for index, seeds in enumerate(edits):
            for k, reward in enumerate(seeds):
                key = f"{task}/{index}/{k}"
                more: dict[str, Any] = {"policy": 0, "recipe": "", "seed": k}
                journal.record(PlannedRow.at("round 1", "self-edits", task, index, k, key, **more))
                journal.record(OutcomeRow.of(Outcome(key, verdicts=(reward, 1.0), reward=reward)))
    for task, index in kept.items():
        row = {"stage": "round 1", "task_id": task, "index": index, "self_edit": "", "reward": 0.0}
        journal.append("kept", {"key": f"{task}/{index}", **row})
    journal.flush()
    return journal


def test_a_round_s_figures_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    journal_of(tmp_path, {"a": [[0.2, 0.4], [0.6, 0.8]], "b": [[0.1, 0.1], [0.1, 0.3]]}, {"a": 1, "b": 1})
    (found,) = data.read_run(str(tmp_path)).rounds
    assert found.mean == pytest.approx((0.3 + 0.7 + 0.1 + 0.2) / 4)
    assert found.kept_mean == pytest.approx((0.7 + 0.2) / 2)
    assert found.gain == pytest.approx((0.2 + 0.05) / 2)
    assert found.between == pytest.approx(((2 * 0.2**2 + 2 * 0.05**2) / 2) ** 0.5)
    assert found.within == pytest.approx(((2 * 0.1**2 + 2 * 0.1**2 + 2 * 0.1**2) / 4) ** 0.5)
    assert found.reliability is not None
    assert 0 < found.reliability < 1
    assert (found.trials, found.pending, found.kept, found.failed) == (8, 0, 2, 0)


def test_one_seed_a_self_edit_tells_nothing_of_reliability(tmp_path: Path) -> None:
    journal_of(tmp_path, {"a": [[0.2], [0.6]]}, {"a": 1})
    (found,) = data.read_run(str(tmp_path)).rounds
    assert found.within is None
    assert found.reliability is None


def test_rounds_without_trials_are_told_apart_from_rounds_without_reward(tmp_path: Path) -> None:
    control(str(tmp_path))
    found = data.read_run(str(tmp_path)).rounds
    assert [(r.written, r.trials, r.mean, r.policy is not None) for r in found] == [(8, 0, None, True)] * 2


def test_pairs_are_the_extremes_of_the_round_that_told_most_and_come_widest_first(tmp_path: Path) -> None:
    journal_of(tmp_path, {"a": [[0.2], [0.6], [0.4]], "b": [[0.0], [1.0]], "c": [[0.5], [0.5]]}, {"a": 1, "b": 1})
    found = data.read_run(str(tmp_path)).pairs
    assert [(p.title, p.worst.reward, p.best.reward) for p in found.open] == [("b", 0.0, 1.0), ("a", 0.2, 0.6)]
    assert found.level == 1
    assert found.open[0].best.kept
    assert found.open[1].worst.verdicts == (0.2, 1.0)


def test_failures_are_counted_by_class_and_reason_whatever_the_task(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), train=2)
    run.explore(1, 0.5)
    for i in range(3):
        run.fail("round 1", f"train-{i:03d}", 9, f"train-{i:03d}: the self-edit is empty")
    for i in range(40):
        run.fail("round 1", f"train-{i:03d}", 10, f"odd reason {i}")
    lost = Outcome("lost", reward=0.0, failure=Failure("infrastructure", "node gone"))
    run.journal.record(OutcomeRow.of(lost))
    run.journal.record(PlannedRow.at("evaluation", "base", "t", 0, 0, "lost", policy=0, recipe="", seed=0))
    run.journal.flush()
    found = data.read_run(str(tmp_path))
    counts = {(f.stage, f.kind, f.reason): f.count for f in found.failures}
    assert counts["round 1", "data", "the self-edit is empty"] == 3
    assert sum(counts.values()) == 44
    assert len(counts) <= 14
    assert found.rounds[0].failed == 43


def test_a_pair_says_why_its_worst_self_edit_could_not_be_used(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), train=1)
    run.explore(1, 0.5)
    run.edit("round 1", "train-000", 9, 0, "{}")
    run.fail("round 1", "train-000", 9, "no layer is called 'zz'")
    run.journal.flush()
    (pair,) = data.read_run(str(tmp_path)).pairs.open
    assert (pair.worst.problem, pair.worst.text) == ("no layer is called 'zz'", "{}")
    assert pair.best.prompt == "Notes on train-000, round 1:"


def test_advice_that_was_asked_for_is_no_self_edit_of_the_policy(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), test=1)
    run.edit("round 1", "train-000", 0, 0)
    run.edit("advice for round 2", "train-000", 0, 1, "Repeat each entry.")
    run.write_config()
    run.journal.flush()
    ((only,), _) = writing(run.journal.table("self_edits"))
    assert (only.policy, only.self_edits) == (0, 1)
    assert data.read_run(str(tmp_path)).totals.self_edits == 1


def test_a_policy_that_repeats_itself_has_fewer_new_words_over_equally_many_words(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), test=20)
    run.evaluate("untrained self-edits", 0.5)
    for i in range(20):
        run.edit("evaluation", f"test-{i:03d}", 0, 1, "the same note again and again " * 9)
    run.edit("round 1", "train-000", 0, 0, "not compared")
    run.journal.flush()
    found, held_out = writing(run.journal.table("self_edits"))
    assert held_out
    assert [w.policy for w in found] == [0, 1]
    assert found[0].words == found[1].words > 100
    assert all(found[1].distinct[n] < found[0].distinct[n] for n in (1, 2, 3))
    assert found[1].repeated == pytest.approx(19 / 20)
    assert found[0].self_edits == 20
