"""Ways to learn passages in turn, held to one of them passage by passage, over the orders of several seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.policy.lineage import sequence_head
from seal_ray.record.continual import CONTINUAL, arm_of
from seal_ray.record.rows import LearntRow, OutcomeRow, PlannedRow
from tests.report.build import FakeRun

PASSAGES = 4
JUST_AND_KEPT = {"merge": (0.75, 0.25), "library": (0.5, 0.5)}


def learnt_in_turn(folder: Path, seed: int) -> str:
    """A run that learnt passages of its seed in both ways, each asked when it was learnt, and all at the end."""
    run = FakeRun(str(folder), seed=seed, rounds=0)
    run.write_config()
    for way, (just, kept) in JUST_AND_KEPT.items():
        for step in range(PASSAGES + 1):
            arm = arm_of(sequence_head(0, way), step)
            asked = range(PASSAGES) if step in (0, PASSAGES) else [step - 1]
            for place in asked:
                reward = 0.0 if step == 0 else just if place == step - 1 else kept
                planned = PlannedRow.at(CONTINUAL, arm, f"{seed}-{place}", place, 0, f"{arm} {place}")
                run.journal.record(planned)
                run.journal.record(OutcomeRow(planned.trial, reward=reward + place / 100))
            if step:
                run.journal.record(LearntRow(f"{way} {step}", f"{seed}-{step - 1}", way=way, step=step, learned="x"))
    run.journal.flush()
    return str(folder)


def test_ways_are_held_to_one_of_them_when_just_learnt_and_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [learnt_in_turn(tmp_path / str(seed), seed) for seed in (1, 2)]
    with pytest.raises(SystemExit, match="0"):
        main(["eval", *runs, "--over", "library", "--json"])
    found = json.loads(capsys.readouterr().out)["over"]["library"]
    just, kept = (found[when]["merge"] for when in ("just learnt", "at the end"))
    assert just == {"mean": 0.25, "low": 0.25, "high": 0.25, "tasks": 2 * PASSAGES, "why": ""}
    last = (0.25 - 3 * 0.25) / 4  # the last passage has just been learnt when all are asked at the end
    assert (kept["mean"], kept["tasks"]) == (pytest.approx(last), 2 * PASSAGES)
    assert kept["low"] < last < kept["high"]


def test_without_json_there_is_a_table_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["eval", learnt_in_turn(tmp_path / "run", 1), "--over", "merge"])
    said = capsys.readouterr().out
    assert "over merge, just learnt, in points, by passage:\nlibrary  −25.0, 4 tasks" in said
    assert "over merge, at the end, in points, by passage:\nlibrary  +12.5, 4 tasks" in said


def test_a_name_that_nothing_has_is_one_line_with_those_that_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["eval", learnt_in_turn(tmp_path / "run", 1), "--over", "joint"])
    assert "--over 'joint': no such baseline, round or way was measured; there are: library, merge" in (
        capsys.readouterr().err
    )
