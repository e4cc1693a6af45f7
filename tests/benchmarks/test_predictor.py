"""Whether rewards can be foreseen, replayed: on records where they can, where they cannot, and where nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import bench
from benchmarks.predictor import Replayed, Tried, replay, tasks_of
from seal_ray.record.rows import SelfEditRow
from seal_ray.types import UserError
from tests.report.build import FakeRun

STEPS = 10


def invented(foreseeable: bool, tasks: int = 40, each: int = 6, seed: int = 0) -> list[list[Tried]]:
    """Tasks in which the longest self-edits earn most, or in which earning has nothing to do with what is written."""
    rng, found = np.random.default_rng(seed), []
    for task in range(tasks):
        own = []
        for index in range(each):
            lines = int(rng.integers(1, 30))
            text = "\n".join(f"line {rng.integers(10_000)} of {line}" for line in range(lines))
            earned = lines / 40 if foreseeable else float(rng.random())
            edit = SelfEditRow(
                f"{task}/{index}", "round 1", f"t{task}", "a passage", text, index=index, tokens=5 * lines
            )
            own.append(Tried(edit, earned + 0.02 * float(rng.standard_normal()), STEPS, 2.0))
        found.append(own)
    return found


def by_way(found: list[Replayed]) -> dict[str, Replayed]:
    return {each.way: each for each in found}


def test_what_can_be_foreseen_is_found_with_few_trials() -> None:
    found = by_way(list(replay([invented(foreseeable=True)])))
    some = found["foreseen by the text, within 50% of the steps"]
    assert some.kept > 0.98
    assert found["any order, within 50% of the steps"].kept < some.kept - 0.03
    assert some.spent == pytest.approx(0.5)
    assert found["and foreseen by the text, until 0.02"].spent < found["one by one, until 0.02"].spent


def test_what_cannot_be_foreseen_is_not_said_to_be() -> None:
    found = by_way(list(replay([invented(foreseeable=False)])))
    some, any_ = (found[f"{way}, within 50% of the steps"] for way in ("foreseen by the text", "any order"))
    assert abs(some.kept - any_.kept) < 0.08
    assert some.missed > 0.3


def test_a_first_step_of_each_that_is_left_out_is_spent_too() -> None:
    found = by_way(list(replay([invented(foreseeable=True)])))
    plain, loss = (
        found[f"{way}, within 50% of the steps"] for way in ("foreseen by the text", "and by the first loss")
    )
    assert loss.spent == pytest.approx(plain.spent + 0.5 / STEPS)


def test_near_duplicates_cost_nothing_and_lose_nothing_where_they_earn_the_same() -> None:
    doubled = [[*task[:3], *task[:3]] for task in invented(foreseeable=True)]
    unlike = by_way(list(replay([doubled])))["all but near duplicates"]
    assert (unlike.spent, unlike.kept, unlike.missed) == (0.5, 1.0, 0.0)


def test_the_same_record_gives_the_same_figures_and_a_later_task_changes_no_decision_before_it() -> None:
    tasks = invented(foreseeable=True, tasks=12)
    assert list(replay([tasks])) == list(replay([tasks]))
    assert {each.tasks for each in replay([tasks])} == {6}
    assert {each.tasks for each in replay([tasks, tasks])} == {12}


def test_a_record_is_read_as_it_was_written_and_tasks_that_are_under_way_are_left_out(tmp_path: Path) -> None:
    made = FakeRun(str(tmp_path), seeds=2)
    made.explore(1, 0.5)
    made.edit("round 1", "open", 0, 0)
    made.edit("round 1", "open", 1, 0)
    made.trial("round 1", "self-edits", "open", 0, 0, 0, 0.5)
    made.trial("round 1", "self-edits", "open", 1, 0, 0, None)
    made.explore(2, 0.5)
    made.journal.flush()
    tasks = tasks_of(str(tmp_path))
    assert [len(task) for task in tasks] == [5] * 16
    assert {task[0].edit.stage for task in tasks} == {"round 1", "round 2"}


def test_the_command_prints_every_way_and_refuses_what_is_too_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = FakeRun(str(tmp_path), seeds=1)
    made.explore(1, 0.5)
    made.journal.flush()
    bench(["predictor", str(tmp_path), "--json"], result_action="return_value")
    found = json.loads(capsys.readouterr().out)
    assert {each["tasks"] for each in found} == {2}
    bench(["predictor", str(tmp_path)], result_action="return_value")
    assert "winners missed" in capsys.readouterr().out
    with pytest.raises(UserError, match="0 tasks of a round before its last"):
        bench(["predictor", str(tmp_path), "--rounds-before"], result_action="return_value")
    with pytest.raises(UserError, match="give the directories"):
        bench(["predictor"], result_action="return_value")
