"""What the policy is finetuned on, by each update rule."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seal_ray.config import Update
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.looking.explained import explain
from seal_ray.looking.explanation import lines
from seal_ray.looking.picture import Picture
from seal_ray.looking.seen import look
from seal_ray.looking.stages import is_whole, rounds_over
from seal_ray.loop.run import choose, run
from seal_ray.policy.lineage import MAIN, adapter_of, lineage
from seal_ray.record.journal import Journal
from seal_ray.record.rows import KeptRow, OutcomeRow, PlannedRow, PolicyRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import UNTRAINED, summarize
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.selection.rules import RULES, Candidate
from seal_ray.types import Example, FinetuneSpec, ObjectiveSpec, SelfEdit, UserError
from seal_ray.update.base import Found, find_update_rule, learns_from_kept
from tests.runs import small_run

TASKS = MicroWorld().tasks("train", 2, 1)
A, B = TASKS[0].id, TASKS[1].id


def written(task_id: str, index: int, reward: float, problem: str = "", finished: bool = True) -> Candidate:
    edit = SelfEdit(task_id, index, 0, f"write {task_id}", f"note {index}", seed=index, finished=finished)
    return Candidate(edit, (reward,), problem)


FOUND = {A: [written(A, 0, 0.5), written(A, 1, 0.9), written(A, 2, 0.0, "failed"), written(A, 3, 0.2)]}
KEPT = [FOUND[A][1]]


def taught(task_id: str, index: int, reward: float) -> Candidate:
    return replace(written(task_id, index, reward), better=1.0)


JUDGED = {
    A: [taught(A, 0, 0.5), taught(A, 1, 0.9), written(A, 2, 0.0, "failed"), written(A, 3, 0.3), taught(A, 4, 0.7)],
    B: [written(B, 0, 0.5), taught(B, 1, 0.9)],
}


def request(settings: Update, found: Found) -> FinetuneSpec:
    return find_update_rule(settings).request(found, settings, 7)


def test_by_default_the_policy_learns_to_write_what_was_kept() -> None:
    assert request(Update(), Found(FOUND, KEPT, TASKS)).examples == (Example("note 1", f"write {A}"),)


def test_a_self_edit_that_was_cut_off_teaches_no_end_at_the_cut() -> None:
    kept = [KEPT[0], written(A, 4, 0.9, finished=False)]
    examples = request(Update(), Found(FOUND, kept, TASKS)).examples
    assert [example.whole for example in examples] == [True, False]


def test_a_rule_that_weighs_learns_all_that_taught_by_how_much_more_it_earned_than_its_tasks_mean() -> None:
    finetune = request(Update(rule="weighted"), Found(JUDGED, [], TASKS))
    assert [example.completion for example in finetune.examples] == ["note 1", "note 4", "note 1"]
    # Means are 0.6 and 0.7 over what is usable; 0.3, 0.1 and 0.2 above them are 0.2 on average.
    assert [example.weight for example in finetune.examples] == pytest.approx([1.5, 0.5, 1.0])
    assert finetune.objective is None


def test_by_softmax_every_task_counts_as_much_and_equals_are_learnt_alike() -> None:
    equal = JUDGED | {B: [taught(B, 0, 0.5), taught(B, 1, 0.5)]}
    settings = Update(rule="weighted", options={"by": "softmax", "temperature": 0.2})
    finetune = request(settings, Found(equal, [], TASKS))
    weights = {(example.prompt, example.completion): example.weight for example in finetune.examples}
    of_a = {name: weight for (prompt, name), weight in weights.items() if prompt == f"write {A}"}
    assert of_a.keys() == {"note 0", "note 1", "note 4"}
    assert of_a["note 1"] / of_a["note 0"] == pytest.approx(np.exp(0.4 / 0.2))
    assert sum(of_a.values()) == pytest.approx(sum(weights.values()) / 2)
    assert weights[f"write {B}", "note 0"] == weights[f"write {B}", "note 1"]
    assert np.mean(list(weights.values())) == pytest.approx(1.0)


@pytest.mark.parametrize("by", ["advantage", "softmax"])
def test_what_taught_nothing_is_never_learnt_however_much_better_than_the_rest_it_was(by: str) -> None:
    lucky = replace(taught(A, 0, 0.9), better=0.5)
    found = Found({A: [lucky, written(A, 1, 0.1)]}, [], TASKS)
    with pytest.raises(UserError, match="no self-edit that taught something earned more than others of its task"):
        request(Update(rule="weighted", options={"by": by}), found)


def test_by_grpo_each_usable_self_edit_counts_by_its_advantage_those_below_the_mean_too() -> None:
    equal = {B: [written(B, 0, 0.5), written(B, 1, 0.5)]}
    finetune = request(Update(rule="grpo", options={"clip": 0.3}), Found(JUDGED | equal, [], TASKS))
    assert [example.completion for example in finetune.examples] == ["note 0", "note 1", "note 3", "note 4"]
    assert [example.weight for example in finetune.examples] == pytest.approx([-0.1, 0.3, -0.3, 0.1])
    assert finetune.objective == ObjectiveSpec("policy gradient", {"clip": 0.3})
    with pytest.raises(UserError, match="no self-edit earned more than another of its task"):
        request(Update(rule="grpo"), Found(equal, [], TASKS))


@pytest.mark.parametrize("rule", ["weighted", "grpo", "dpo"])
def test_a_self_edit_that_a_race_left_untried_says_nothing(rule: str) -> None:
    """It was not worth 0: no mean has it in it, and nothing is learnt away from it."""
    untried = Candidate(SelfEdit(A, 5, 0, f"write {A}", "note 5", seed=5), expected=0.0)
    with_it = Found(JUDGED | {A: [*JUDGED[A], untried]}, [JUDGED[A][1]], TASKS)
    settings = Update(rule=rule)
    assert request(settings, with_it) == request(settings, Found(JUDGED, [JUDGED[A][1]], TASKS))


@pytest.mark.parametrize("rule", ["sft", "dpo", "weighted", "grpo"])
@pytest.mark.parametrize("kl_coef", [0.0, 10.0])
def test_the_policy_is_held_to_the_answers_of_all_the_rounds_questions_or_to_nothing(rule: str, kl_coef: float) -> None:
    finetune = request(Update(rule=rule, kl_coef=kl_coef), Found(JUDGED, KEPT, TASKS))
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
        (Update(rule="weighted", options={"by": "rank"}), "update.options.by: must be one of advantage, softmax"),
        (Update(rule="weighted", options={"temperature": 0}), "update.options.temperature: must be a number above 0"),
        (Update(rule="grpo", options={"clip": 1}), "update.options.clip: must be a number between 0 and 1"),
        (Update(rule="none", options={"lr": 1}), "update.options: 'none' cannot be made from them"),
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


TINY = ("--workers.address", "in-process", "--domain.train", "2", "--domain.test", "1", "--update.kl_coef", "0")


@pytest.fixture(scope="module")
def by_rule(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A round by each rule that learns from all of a task's self-edits, over the same trials."""
    more = (
        "--run.rounds",
        "1",
        "--evaluation.samples",
        "0",
        "--evaluation.baselines",
        "[]",
        "--update.optim.epochs",
        "1",
    )
    folders = {rule: tmp_path_factory.mktemp(rule) / "run" for rule in ("weighted", "grpo")}
    for rule, folder in folders.items():
        beside = str(folders["weighted"]) if rule == "grpo" else ""
        run(small_run(folder, *TINY, *more, "--update.rule", rule), beside=beside)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["weighted", "grpo"])
def test_a_whole_run_by_a_rule_that_weighs_trains_a_policy_and_says_on_how_many(
    by_rule: dict[str, Path], rule: str
) -> None:
    journal = Journal(Store(str(by_rule[rule])))
    (policy,) = journal.read(PolicyRow)
    kept = len(list(journal.read(KeptRow)))
    assert policy.kept > kept if rule == "grpo" else policy.kept >= kept > 0
    assert policy.steps == len(policy.losses) == -(-policy.kept // 8)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("none") / "run"
    run(small_run(folder, *TINY, "--evaluation.baselines", '["base"]', "--update.rule", "none"))
    return folder


@pytest.mark.slow
def test_without_an_update_each_round_writes_and_tries_anew_and_the_policy_is_measured_once(unchanged: Path) -> None:
    journal = Journal(Store(str(unchanged)))
    assert not list(journal.read(PolicyRow))
    texts = {stage: {row.completion for row in journal.read(SelfEditRow) if row.stage == stage}
             for stage in ("round 1", "round 2")}  # fmt: skip
    assert len(texts["round 2"] - texts["round 1"]) > 3
    assert {row.stage for row in journal.read(KeptRow)} == {"round 1", "round 2"}
    assert list(summarize(journal)) == ["base", UNTRAINED]
    assert Counter(row.arm for row in journal.read(PlannedRow) if row.stage == "evaluation") == {
        "base": 1,
        UNTRAINED: 1,
    }


@pytest.mark.slow
def test_a_run_without_updates_is_whole_and_its_page_says_why_nothing_moved(unchanged: Path) -> None:
    seen = look(Store(str(unchanged)))
    assert is_whole(seen)
    assert rounds_over(seen) == {1, 2}
    assert Picture(str(unchanged), seen, None, None).updating == 0
    found = read_run(str(unchanged))
    assert found.missing == ()
    assert found.headline.text.endswith(" Its rounds leave the policy as it is.")
    assert "none: the policy stays as it is" in render(found)
    kept = next(row for row in Journal(Store(str(unchanged))).read(KeptRow) if row.stage == "round 2")
    trial = next(row.trial for row in Journal(Store(str(unchanged))).read(PlannedRow)
                 if (row.stage, row.task_id, row.index) == (kept.stage, kept.task_id, kept.index))  # fmt: skip
    assert "selection: kept in round 2" in lines("runs/x", explain(str(unchanged), trial))


@pytest.mark.slow
def test_a_run_without_updates_is_not_whole_while_a_round_is_to_come(unchanged: Path) -> None:
    seen = look(Store(str(unchanged)))
    first = replace(
        seen,
        planned=[row for row in seen.planned if row.stage != "round 2"],
        edits=[row for row in seen.edits if row.stage != "round 2"],
        kept=[row for row in seen.kept if row.stage != "round 2"],
    )
    assert rounds_over(first) == {1}
    assert is_whole(first) is False


def test_a_round_that_kept_nothing_ends_a_run_only_where_the_update_learns_from_what_was_kept() -> None:
    nothing = {A: [written(A, 0, 0.5)]}
    assert choose(RULES["best"], nothing, 1, 1, or_stop=False) == []
    assert not learns_from_kept(find_update_rule(Update(rule="none")))
    assert learns_from_kept(find_update_rule(Update(rule="dpo")))
    with pytest.raises(UserError, match="no self-edit taught anything"):
        choose(RULES["best"], nothing, 1, 1)
