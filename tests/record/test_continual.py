"""What is said of passages that were learnt in turn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from seal_ray.record.continual import CONTINUAL, ELSEWHERE, FOUND, KL, arm_of, by_way, orders, print_continual
from seal_ray.record.journal import Journal, R
from seal_ray.record.rows import LearntRow, OutcomeRow, PlannedRow
from seal_ray.record.storage import Store
from seal_ray.types import UserError

MATRIX = {0: [[0, 0], [0, 1]], 1: [[1, 1], [0, 0]], 2: [[0, 1], [1, 1]]}
"""After so many passages, of each of two the verdicts on two questions."""


def written(
    folder: Path, matrix: dict[int, list[list[float]]], head: str = "sequence 0", way: str = "merge"
) -> Journal:
    journal = Journal(Store(str(folder)))

    def row(stage: str, step: int, place: int, verdicts: list[float]) -> None:
        trial, arm = f"{head} {stage} {step} {place}", arm_of(head, step)
        journal.on(PlannedRow.at(stage, arm, f"task {place}", place, 0, trial))
        journal.on(OutcomeRow(trial, reward=sum(verdicts) / len(verdicts), verdicts=tuple(verdicts)))

    for step, passages in matrix.items():
        for place, verdicts in enumerate(passages):
            row(CONTINUAL, step, place, verdicts)
        row(ELSEWHERE, step, 0, [1, 1 if step == 0 else 0])
        if step:
            far = {"learned": "a hash", "moved": step / 2, "plain": step / 4}
            journal.on(LearntRow(f"{head} {step}", way=way, step=step, tokens=10, seconds=1.5, **far))
    journal.flush()
    return journal


def test_what_was_learnt_kept_and_lost_is_told_by_way(tmp_path: Path) -> None:
    written(tmp_path, MATRIX)
    better = {**MATRIX, 2: [[1, 1], [1, 1]]}
    journal = written(tmp_path, better, "sequence 0 by my.way:Mine", "my.way:Mine")
    table = by_way(orders(journal))
    assert list(table) == ["my.way:Mine", "merge"], "what keeps most comes first"
    merge = table["merge"]
    assert (merge["before"], merge["just learnt"], merge["at the end"]) == (0.25, 1.0, 0.75)
    assert (merge["forgotten"], merge["right, then wrong"], merge["backward transfer"]) == (0.25, 0.25, -0.25)
    assert (merge["the first, just learnt"], merge["the first, at the end"]) == (1.0, 0.5)
    assert (merge["known before, before"], merge["known before, at the end"]) == (1.0, 0.5)
    assert (merge["tokens"], merge["seconds"], merge["orders"], merge["failed"]) == (20, 3.0, 1, 0.0)
    assert (merge["moved, nats a token"], merge["plain texts, nats a token"]) == (1.0, 0.5), "as it is at the end"
    assert KL not in merge, "an older version did not measure it"
    assert merge["matrix"] == {0: [0.0, 0.5], 1: [1.0, 0.0], 2: [0.5, 1.0]}
    assert table["my.way:Mine"]["forgotten"] == 0.0


def test_orders_of_several_runs_are_taken_together_with_an_interval(tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, matrix) for name, matrix in (("a", MATRIX), ("b", {**MATRIX, 2: MATRIX[0]})))
    merge = by_way([*orders(one), *orders(other)])["merge"]
    assert (merge["orders"], merge["at the end"]) == (2, 0.5)
    assert "at the end, interval" not in merge, "two orders are too few"
    many = by_way([*orders(one), *orders(other)] * 3)["merge"]
    low, high = many["at the end, interval"]
    assert 0.25 <= low < 0.5 < high <= 0.75


def test_orders_of_unlike_lengths_are_not_taken_together(tmp_path: Path) -> None:
    short = {0: [[0, 0]], 1: [[1, 1]]}
    one, other = (written(tmp_path / name, matrix) for name, matrix in (("a", MATRIX), ("b", short)))
    with pytest.raises(UserError, match="these orders are of 1 and of 2 passages"):
        by_way([*orders(one), *orders(other)])


def test_an_order_that_is_not_at_its_end_is_not_told(tmp_path: Path) -> None:
    assert orders(written(tmp_path, {0: MATRIX[0], 1: MATRIX[1]})) == []


def test_of_a_run_without_sequences_no_answers_are_read(tmp_path: Path) -> None:
    class Unread(Journal):
        def read(self, kind: type[R]) -> Iterator[R]:
            assert kind is not OutcomeRow
            return super().read(kind)

    journal = Unread(Store(str(tmp_path)))
    journal.on(PlannedRow.at("evaluation", "base", "task 0", 0, 0, "trial"))
    journal.on(OutcomeRow("trial", reward=1.0, answers=("a long one",)))
    assert orders(journal) == []


def test_what_several_lessons_answered_of_one_passage_counts_question_by_question(tmp_path: Path) -> None:
    journal = written(tmp_path, MATRIX)
    arm = arm_of("sequence 0", 2)
    journal.on(PlannedRow.at(CONTINUAL, arm, "task 0", 0, 0, "another's share"))
    journal.on(OutcomeRow("another's share", reward=1.0, verdicts=(1.0, 1.0)))
    journal.flush()
    assert by_way(orders(journal))["merge"]["matrix"][2][0] == pytest.approx(3 / 4)


def test_how_far_predictions_are_from_the_firsts_is_in_the_table_where_any_way_measured_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = by_way(orders(written(tmp_path, MATRIX)))
    print_continual(table)
    assert "KL" not in capsys.readouterr().out
    long = table["merge"] | {KL: 1.4619, "at the end, interval": (0.925, 0.967), "tokens": 1_958_000}
    print_continual({"replay-last-layers": long, **table})
    said = capsys.readouterr().out
    assert re.search(r"replay-last-layers .* 50\.0% +1\.46 +1958000\n", said), "whole within 80 columns"
    assert re.search(r"merge .* 50\.0% +– +20", said), "one that an older version measured"


def test_how_many_questions_find_their_own_lesson_is_said_where_lessons_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = by_way(orders(written(tmp_path, MATRIX)))
    print_continual({"library": table["merge"] | {FOUND: 0.914}, **table})
    said = capsys.readouterr().out
    assert "library: 91.4% of the questions find their own lesson\n" in said
    assert said.count("find their own lesson") == 1


def test_failed_trials_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = by_way(orders(written(tmp_path, MATRIX)))
    table["merge"]["failed"] = 0.25
    print_continual(table)
    said = capsys.readouterr().out
    assert "merge: 25.0% of its trials failed and count as 0" in said
    assert "  1  100.0% |   0.0%\n" in said
