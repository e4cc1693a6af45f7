"""Answers of a small world are as long as they may be, and that is how they end: no figure of theirs is in doubt."""

from __future__ import annotations

from pathlib import Path

from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from tests.runs import small_run


def test_the_figures_of_the_micro_world_are_not_marked(tmp_path: Path) -> None:
    few = ("--run.rounds", "0", "--evaluation.samples", "0", "--evaluation.baselines", '["base"]')
    found = run(small_run(tmp_path / "run", *few, "--workers.address", "in-process"), Silent())
    assert found["base"].cut is None
    assert not found["base"].doubt
