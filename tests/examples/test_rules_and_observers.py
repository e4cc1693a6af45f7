"""The examples of an update rule and an observer do in a run what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from examples.own_objective import UpTo
from examples.own_objective_rule import Unsure
from seal_ray import plugins
from seal_ray.bank.objectives import CrossEntropy, objective_of
from seal_ray.bank.rows import Labelled
from seal_ray.config import Update
from seal_ray.loop.run import run
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PolicyRow
from seal_ray.record.storage import Store
from seal_ray.selection.rules import Candidate
from seal_ray.types import SelfEdit
from seal_ray.update.base import Found
from tests.runs import small_run

ONCE = ("--workers.address", "in-process", "--run.rounds", "1", "--evaluation.baselines", "[]")


@pytest.mark.slow
def test_own_update_rule_and_own_observer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = ("--update.rule", "examples.own_update_rule:Weighted", "--update.options", '{"most": 5}')
    watch = ("--run.observers", '["examples.own_observer:Policies"]')
    run(small_run(tmp_path / "run", *ONCE, *rule, *watch))
    journal = Journal(Store(str(tmp_path / "run")))
    (policy,), trials = journal.read(PolicyRow), sum(1 for _ in journal.read(OutcomeRow))
    said = capsys.readouterr().out
    assert f"policy 1: {policy.kept} self-edits kept of " in said
    assert f"{trials} trials in all" in said


def test_own_objective_trains_only_what_is_not_sure_yet() -> None:
    kept = Candidate(SelfEdit("t", 0, 0, "Write.", "A note.", 1))
    finetune = Unsure(0.5, "examples.own_objective:UpTo").request(Found({}, [kept], []), Update(), seed=0)
    objective = objective_of(finetune.objective)
    assert objective == UpTo(0.5)
    logits_LV = torch.tensor([[4.0, 0.0], [0.0, 1.0], [0.0, 4.0]], dtype=torch.float64)
    labelled = Labelled((), torch.tensor([0, 0, 1]), torch.ones(3, dtype=torch.float64))
    losses_L, grad_LV = objective.loss_and_grad(logits_LV.clone(), labelled, None)
    all_losses_L, all_grad_LV = CrossEntropy().loss_and_grad(logits_LV.clone(), labelled, None)
    assert torch.equal(losses_L, all_losses_L)
    assert torch.equal(grad_LV[1], all_grad_LV[1])
    assert not grad_LV[[0, 2]].any()


@pytest.mark.slow
def test_a_policy_is_finetuned_to_ones_own_objective(tmp_path: Path) -> None:
    rule = ("--update.rule", "examples.own_objective_rule:Unsure")
    named = ("--update.options", '{"objective": "examples.own_objective:UpTo"}')
    run(small_run(tmp_path / "run", *ONCE, *rule, *named, "--update.kl_coef", "0"))
    (policy,) = Journal(Store(str(tmp_path / "run"))).read(PolicyRow)
    assert policy.kept > 0


def test_a_worker_finds_the_modules_beside_its_drivers_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("THING = 7\n")
    monkeypatch.setattr(plugins, "_BESIDE", [str(tmp_path)])
    code = "from seal_ray import plugins; print(plugins.find('objective', 'mine:THING', {}))"
    worker = {**os.environ, **plugins.environment()}
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=worker).strip() == "7"
