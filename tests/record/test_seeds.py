"""Runs of several seeds taken together: tasks of their own count each, and a task that several measured counts once."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.record.differences import difference
from seal_ray.record.journal import Journal
from seal_ray.record.methods import METHODS, by_method
from seal_ray.record.rows import OutcomeRow, PlannedRow, StudyRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import Measured, interval, together
from tests.report.build import FakeRun


def of_tasks(**rewards: float) -> Measured:
    return Measured({task: [reward] for task, reward in rewards.items()})


def a_run(folder: Path, seed: int, **more: str) -> str:
    run = FakeRun(str(folder), seed=seed, **more)
    run.write_config()
    run.evaluate("base", 0.4)
    run.journal.flush()
    return run.url


def test_a_task_that_two_seeds_measured_counts_once_with_its_mean() -> None:
    one, two = of_tasks(a=0.0, b=0.2, c=0.4, d=0.6, e=0.8, f=1.0), of_tasks(a=0.2, b=0.2, c=0.2, g=0.7)
    found = together([{"base": one}, {"base": two}], [{"a"}, {"a", "g"}])["base"]
    alone = interval([0.1, 0.2, 0.3, 0.6, 0.8, 1.0, 0.7])
    assert (found.accuracy, found.low, found.high) == pytest.approx((alone.accuracy, alone.low, alone.high))
    assert (found.n, found.synthetic) == (7, 2)


def test_measured_twice_few_tasks_stay_too_few_for_an_interval() -> None:
    first, better = of_tasks(a=0.1, b=0.2, c=0.3), of_tasks(a=0.3, b=0.4, c=0.5)
    found = difference((better, first), (better, first))
    assert (found.mean, found.low, found.tasks) == (pytest.approx(0.2), None, 3)


def test_methods_count_a_passage_of_two_seeds_once(tmp_path: Path) -> None:
    journals = [Journal(Store(str(tmp_path / name))) for name in ("one", "two")]
    for journal, reward in zip(journals, (0.25, 0.75), strict=True):
        for task in map(str, range(5)):
            journal.record(StudyRow(f"study {task}", task_id=task, method="passage", recipe="r"))
            journal.record(PlannedRow.at(METHODS, "passage", task, 0, 0, f"trial {task}", policy=0, recipe="r", seed=0))
            journal.record(OutcomeRow(f"trial {task}", reward=reward, tokens=10))
        journal.flush()
    (row,) = by_method(journals)
    assert (row["tasks"], row["accuracy"], row["trained"]) == (5, 0.5, 10)
    assert "interval" not in row


def test_runs_that_differ_in_more_than_the_seed_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = a_run(tmp_path / "one", 1), a_run(tmp_path / "two", 2)
    other = a_run(tmp_path / "other", 3, rule="random")
    for more, said in (([second], ""), ([second, other], f"{other}: not {first} with another seed, ")):
        with pytest.raises(SystemExit, match="0"):
            main(["eval", first, *more])
        shown = capsys.readouterr()
        assert shown.err.startswith(said)
        assert ("selection.rule: 'best' -> 'random'" in shown.err) == bool(said)
        assert "base" in shown.out
