"""Decisions by kind of task, and pictures of grid tasks, from a journal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seal_ray.config import load
from seal_ray.domains.arcworld import ArcWorld, world
from seal_ray.domains.arcworld.domain import FIXED
from seal_ray.reading import as_tree
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.report import write_report
from seal_ray.report.data import read_run
from seal_ray.types import Outcome, SelfEdit
from tests.runs import CONFIG

BAD = "turns=on <b>"


@pytest.fixture
def grids(tmp_path: Path) -> str:
    """A run of three held-out puzzles: the first is solved, the second not, the third has no valid decision."""
    url = str(tmp_path)
    config = load(CONFIG.parent / "arc_small.toml", ["--run.dir", url, "--domain.test", "3", "--run.rounds", "0"])
    tree = {"identity": config.identity(), "config": as_tree(config)}
    Store(url).write("config.json", json.dumps(tree).encode())
    journal, domain = Journal(Store(url)), ArcWorld()
    for i, task in enumerate(domain.tasks("test", 3, config.run.seed)):
        edit = SelfEdit(task.id, 0, 0, "prompt", BAD if i == 2 else FIXED, i)
        answer = task.questions[0].answer if i == 0 else world.write_output((7,) * 9) if i == 1 else "<script>"
        journal.record(SelfEditRow.of(edit, "evaluation", "w"))
        for stage, arm in (("evaluation", "untrained self-edits"), ("oracle", FIXED)):
            row = PlannedRow.at(stage, arm, task.id, 0, 0, f"trial {stage} {i}", policy=0, recipe="", seed=0)
            journal.record(row)
            outcome = Outcome(f"trial {stage} {i}", (answer,), verdicts=(float(i == 0),), reward=float(i == 0))
            journal.record(OutcomeRow.of(outcome))
    journal.flush()
    return url


def test_decisions_are_counted_by_kind_of_task_beside_the_oracles(grids: str) -> None:
    found = {(row.family, row.who): row for row in read_run(grids).puzzles.decided}
    assert {family for family, _ in found} == {"move", "zswap", "dpaint2"}
    assert found["move", "untrained"].choices["lr"] == "1e-2"
    assert found["move", "oracle"].choices["recolour"] == "on"
    assert (found["dpaint2", "untrained"].invalid, found["dpaint2", "untrained"].count) == (1, 1)


def test_every_task_is_drawn_with_what_was_asked_what_is_right_and_what_was_answered(grids: str) -> None:
    page = Path(write_report(grids)).read_text()
    assert page.count('class="chart puzzle"') == 3
    assert page.count('class="right-grid"') == 1
    assert page.count(">no grid<") == 1
    assert "Answers without a grid: 1." in page
    assert page.count("<script") == 1
    assert "<b>" not in page.split("What was decided")[1]


def test_a_domain_of_texts_has_neither(tmp_path: Path) -> None:
    from tests.report.build import finished

    finished(str(tmp_path))
    assert read_run(str(tmp_path)).puzzles.decided == ()
    assert "Every held-out task" not in Path(write_report(str(tmp_path))).read_text()
