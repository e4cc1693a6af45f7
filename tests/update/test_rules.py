"""What the policy is finetuned on, by each update rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seal_ray.config import Update
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.loop.run import run
from seal_ray.policy.lineage import MAIN, adapter_of, lineage
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PolicyRow
from seal_ray.record.storage import Store
from seal_ray.selection.rules import Candidate
from seal_ray.types import Example, FinetuneSpec, ObjectiveSpec, SelfEdit, UserError
from seal_ray.update.base import Found, find_update_rule
from tests.runs import small_run

TASKS = MicroWorld().tasks("train", 2, 1)
A, B = TASKS[0].id, TASKS[1].id


def written(task_id: str, index: int, reward: float, problem: str = "", finished: bool = True) -> Candidate:
    edit = SelfEdit(task_id, index, 0, f"write {task_id}", f"note {index}", seed=index, finished=finished)
    return Candidate(edit, (reward,), problem)


FOUND = {A: [written(A, 0, 0.5), written(A, 1, 0.9), written(A, 2, 0.0, "failed"), written(A, 3, 0.2)]}
KEPT = [FOUND[A][1]]


def request(settings: Update, found: Found) -> FinetuneSpec:
    return find_update_rule(settings).request(found, settings, 7)


def test_by_default_the_policy_learns_to_write_what_was_kept() -> None:
    assert request(Update(), Found(FOUND, KEPT, TASKS)).examples == (Example("note 1", f"write {A}"),)


def test_a_self_edit_that_was_cut_off_teaches_no_end_at_the_cut() -> None:
    kept = [KEPT[0], written(A, 4, 0.9, finished=False)]
    examples = request(Update(), Found(FOUND, kept, TASKS)).examples
    assert [example.whole for example in examples] == [True, False]


@pytest.mark.parametrize("rule", ["sft", "dpo"])
@pytest.mark.parametrize("kl_coef", [0.0, 10.0])
def test_the_policy_is_held_to_the_answers_of_all_the_rounds_questions_or_to_nothing(rule: str, kl_coef: float) -> None:
    finetune = request(Update(rule=rule, kl_coef=kl_coef), Found(FOUND, KEPT, TASKS))
    asked = tuple(Example(question.answer, question.prompt) for task in TASKS for question in task.questions)
    assert finetune.anchor_examples == (asked if kl_coef else ())
    assert finetune.kl_coef == kl_coef


def test_by_dpo_it_learns_to_prefer_what_was_kept_to_the_worst_usable_one_of_the_task() -> None:
    finetune = request(Update(rule="dpo", options={"beta": 0.3}), Found(FOUND, KEPT, TASKS))
    assert [example.completion for example in finetune.examples] == ["note 1", "note 3"]
    assert finetune.objective == ObjectiveSpec("dpo", {"beta": 0.3})


def test_by_dpo_a_task_on_which_all_earned_the_same_teaches_nothing() -> None:
    equal = {B: [written(B, 0, 0.5), written(B, 1, 0.5)]}
    both = Found(FOUND | equal, [*KEPT, equal[B][0]], TASKS)
    assert len(request(Update(rule="dpo"), both).examples) == 2
    with pytest.raises(UserError, match="no kept self-edit earned more than another of its task"):
        request(Update(rule="dpo"), replace(both, kept=[equal[B][0]]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Update(rule="dpoo"), "unknown update.rule 'dpoo'; did you mean 'dpo'?"),
        (Update(rule="dpo", options={"gamma": 1}), "update.options: 'dpo' cannot be made from them"),
        (Update(rule="dpo", options={"beta": -1}), "update.options.beta: must be a number above 0"),
        (Update(rule="json:JSONEncoder"), "has no method `request`"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_in_a_line(settings: Update, said: str) -> None:
    with pytest.raises(UserError) as refused:
        find_update_rule(settings)
    assert said in str(refused.value)


@pytest.mark.slow
def test_a_whole_run_by_dpo_trains_another_policy_than_by_sft_from_the_same_trials(tmp_path: Path) -> None:
    once = ("--workers.address", "in-process", "--run.rounds", "1", "--evaluation.baselines", "[]")
    rule = ("--update.rule", "dpo", "--update.options", json.dumps({"beta": 0.5}))
    for name, more in (("sft", ()), ("dpo", rule)):
        run(small_run(tmp_path / name, *once, *more))
    journals = [Journal(Store(str(tmp_path / name))) for name in ("sft", "dpo")]
    tried = [{row.key: row.reward for row in journal.read(OutcomeRow)} for journal in journals]
    assert len(tried[0].keys() & tried[1].keys()) >= 4 * 3  # all of the round's: what differs comes after it
    (policy,) = journals[1].read(PolicyRow)
    assert policy.first_loss == pytest.approx(np.log(2))  # nothing is preferred before the first step
    assert policy.last_loss is not None
    assert policy.last_loss < np.log(2)
    stores = [Store(str(tmp_path / name)) for name in ("sft", "dpo")]
    sft, dpo = (adapter_of(store, lineage(Journal(store))[MAIN][0]) for store in stores)
    assert any(not np.array_equal(sft.tensors[name], dpo.tensors[name]) for name in sft.tensors)


@pytest.mark.slow
def test_a_rule_that_needs_rewards_has_everything_tried_whatever_chooses(tmp_path: Path) -> None:
    once = ("--workers.address", "in-process", "--run.rounds", "1", "--evaluation.samples", "0")
    bare = ("--evaluation.baselines", "[]", "--selection.rule", "usable", "--update.rule", "dpo")
    run(small_run(tmp_path / "run", *once, *bare))
    assert sum(row.reward is not None for row in Journal(Store(str(tmp_path / "run"))).read(OutcomeRow)) >= 4 * 3
