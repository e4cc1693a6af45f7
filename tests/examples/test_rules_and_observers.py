"""The examples of an update rule and an observer do in a run what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.loop.run import run
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PolicyRow
from seal_ray.record.storage import Store
from tests.runs import small_run

ONCE = ("--workers.address", "in-process", "--run.rounds", "1", "--evaluation.baselines", "[]")


def test_own_update_rule_and_own_observer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = ("--update.rule", "examples.own_update_rule:Weighted", "--update.options", '{"most": 5}')
    watch = ("--run.observers", '["examples.own_observer:Policies"]')
    run(small_run(tmp_path / "run", *ONCE, *rule, *watch))
    journal = Journal(Store(str(tmp_path / "run")))
    (policy,), trials = journal.read(PolicyRow), sum(1 for _ in journal.read(OutcomeRow))
    said = capsys.readouterr().out
    assert f"policy 1: {policy.kept} self-edits kept of " in said
    assert f"{trials} trials in all" in said
