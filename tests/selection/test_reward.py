"""What self-edits are chosen by: a weighed sum, of which only the gain says whether one taught anything."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from seal_ray.config import Reward, Selection, load, parse
from seal_ray.looking.explained import explain
from seal_ray.looking.explanation import lines
from seal_ray.looking.seen import read_config
from seal_ray.loop.preflight import check
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.reading import as_tree
from seal_ray.record.journal import Journal
from seal_ray.record.rows import KeptRow, OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.schema import brought_up
from seal_ray.record.storage import Store
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.selection.experience import Experience
from seal_ray.selection.reliability import Prior
from seal_ray.selection.reward import ChosenBy, formed
from seal_ray.selection.rules import Candidate, best, judged, positive
from seal_ray.types import Failure, Outcome, SelfEdit, UserError
from tests.runs import CONFIG, small_run

OWN = "own_length_of_answers:words"


def edit(text: str, tokens: int = 0, index: int = 0) -> SelfEdit:
    return SelfEdit("t", index, 0, "write", text, seed=index, tokens=tokens)


def candidates(weights: Reward, *tried: tuple[SelfEdit, Outcome]) -> list[Candidate]:
    chosen_by = ChosenBy.of(weights)
    return [chosen_by.candidate(each, [chosen_by.summary(outcome)]) for each, outcome in tried]


def earned(reward: float, tokens: int = 0, forgotten: float | None = None) -> Outcome:
    return Outcome("key", reward=reward, tokens=tokens, forgotten=forgotten)


def test_by_default_it_is_what_is_on_record_and_nothing_else() -> None:
    (found,) = candidates(Reward(), (edit("figs", 9), earned(0.1 + 0.2, 500, 3.0)))
    assert found.rewards == (0.1 + 0.2,)
    assert found.held is found.rewards


def test_every_part_counts_by_its_weight_and_a_failed_trial_for_nothing() -> None:
    weights = Reward(gain=2.0, memory=0.1, length=-0.001, format=0.5, cost=-1e-4)
    text = edit("figs in Velmo\nFigs  in velmo\n...\n\ngold", tokens=100)
    (found,) = candidates(weights, (text, earned(0.6, 1000, 2.0)))
    assert found.rewards == (pytest.approx(1.2 - 0.2 - 0.1 + 0.5 * 2 / 4 - 0.1),)
    assert found.held == (pytest.approx(0.6 - 0.2),)
    failed = Outcome("key", reward=0.0, tokens=1000, failure=Failure("data", "no text"))
    (found,) = candidates(weights, (text, failed))
    assert (found.rewards, found.problem) == ((0.0,), "no text")


@pytest.mark.parametrize(("text", "share"), [("", 0.0), ("\n \n", 0.0), ("a\nb", 1.0), ("a\nA\n--\nb", 0.5)])
def test_a_line_that_says_nothing_or_what_was_said_is_not_well_formed(text: str, share: float) -> None:
    assert formed(text) == share


def test_no_bonus_makes_a_lesson_of_what_taught_nothing_and_no_price_takes_one_away() -> None:
    tried = (edit("figs\ngold", 90, 0), earned(0.0)), (edit("figs\nfigs", 90, 1), earned(1.0))
    for weights in (Reward(format=5.0), Reward(length=-0.1)):
        found = judged(candidates(weights, *tried), 0.0, Prior())
        assert [c.edit.index for c in positive(found, 0)] == [1]
    raced = judged(candidates(Reward(format=5.0), *tried), 0.0, Prior(), raced=True, chosen=Prior(mean=5.0))
    assert raced[0].reward > raced[1].reward
    assert [c.edit.index for c in best(raced, 0)] == [1]


@pytest.mark.parametrize("length", [-0.05, 0.05])
def test_a_race_takes_no_sum_to_lie_where_rewards_do(length: float) -> None:
    """All notes are as long, so what length counts changes nothing of which is best, in the first round too."""
    tried = [
        (edit("once", 100, 0), (0.80,)),
        (edit("thrice", 100, 1), (0.95, 0.9, 0.94)),
        (edit("poor", 100, 2), (0.5,)),
    ]

    def chosen(weights: Reward) -> list[Candidate]:
        by = ChosenBy.of(weights)
        found = [by.candidate(note, [by.summary(earned(each)) for each in rewards]) for note, rewards in tried]
        prior, held = Experience(Selection(), by.prior).priors()
        return judged(found, 0.0, held, raced=True, chosen=prior)

    priced = chosen(Reward(length=length))
    assert [c.edit.index for c in best(priced, 0)] == [1]
    gains = [c.reward - 100 * length for c in priced]
    assert 0.4 < gains[2] < gains[0] < gains[1] < 1.0
    assert ChosenBy.of(Reward(memory=0.1)).prior == ChosenBy.of(Reward()).prior == Prior()


def test_what_made_the_known_likelier_and_earned_nothing_is_not_learnt_from() -> None:
    tried = (edit("figs"), earned(0.0, forgotten=-2.0)), (edit("gold", index=1), earned(0.9, forgotten=-1.0))
    found = judged(candidates(Reward(memory=0.3), *tried), 0.0, Prior(mean=0.5, level=0.5, noise=0.01))
    assert found[0].reward == pytest.approx(0.6)
    assert [c.edit.index for c in positive(found, 0)] == [1]


def test_of_those_that_taught_alike_the_better_by_the_sum_is_kept() -> None:
    tried = [(edit("figs", tokens, index), earned(1.0)) for index, tokens in enumerate((90, 30, 60))]
    assert [c.edit.index for c in best(judged(candidates(Reward(), *tried), 0.0, Prior()), 0)] == [0]
    assert [c.edit.index for c in best(judged(candidates(Reward(length=-0.001), *tried), 0.0, Prior()), 0)] == [1]


def test_the_setting_of_before_has_a_new_name_and_a_directory_with_the_old_one_goes_on() -> None:
    with pytest.raises(UserError, match=r"'selection.memory_coef' is called 'selection.reward.memory' now"):
        load(CONFIG, ["--selection.memory_coef", "0.1"])
    now = load(CONFIG, ["--selection.reward.memory", "0.1"])
    tree = as_tree(now)
    del tree["selection"]["reward"]
    tree["selection"]["memory_coef"] = 0.1
    assert parse(brought_up(tree, "config.json"), "config.json") == now
    del tree["selection"]["memory_coef"]
    assert parse(brought_up(tree, "config.json"), "config.json").identity() == load(CONFIG).identity()


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ('{"words": 1}', "unknown selection.reward.own 'words'"),
        ('{"nowhere:words": 1}', "selection.reward.own 'nowhere:words' cannot be imported"),
        ('{"math:pi": 1}', "selection.reward.own 'math:pi': no function of a self-edit and an outcome"),
    ],
)
def test_a_part_that_is_none_is_refused_before_anything_starts(own: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        check(load(CONFIG, ["--selection.reward.own", own]))
    assert said in str(refused.value)


def test_a_part_that_comes_to_no_number_says_of_which_self_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_part.py").write_text("def part(edit, outcome):\n    return float('nan')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(UserError, match="'bad_part:part': came to nan for a self-edit on t, and no number"):
        candidates(Reward(own={"bad_part:part": 1.0}), (edit("figs"), earned(1.0)))


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One round chosen by the gain less the length and more by a part of one's own, which reads the answers."""
    folder = tmp_path_factory.mktemp("chosen")
    (folder / "own_length_of_answers.py").write_text(
        "def words(edit, outcome):\n    return sum(len(answer.split()) for answer in outcome.answers)\n"
    )
    sums = ("--selection.reward.length", "-0.002", "--selection.reward.own", f'{{"{OWN}": 0.001}}')
    few = ("--domain.train", "2", "--run.rounds", "1", "--evaluation.samples", "0", "--evaluation.baselines", "[]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(folder), *sys.path])
        run(small_run(folder / "run", "--workers.address", "in-process", "--update.optim.epochs", "1", *few, *sums))
    return folder


@pytest.mark.slow
def test_a_round_keeps_the_best_by_the_sum_and_its_trials_have_the_gain_on_record(chosen: Path) -> None:
    journal = Journal(Store(str(chosen / "run")))
    ended = {row.key: row for row in journal.read(OutcomeRow)}
    tokens = {(row.task_id, row.index): row.tokens for row in journal.read(SelfEditRow)}
    sums = {}
    for row in journal.read(PlannedRow):
        if row.stage == "round 1":
            outcome, at = ended[row.trial], (row.task_id, row.index)
            assert outcome.reward == pytest.approx(sum(outcome.verdicts) / len(outcome.verdicts))
            words = sum(len(answer.split()) for answer in outcome.answers)
            sums[at] = outcome.reward - 0.002 * tokens[at] + 0.001 * words
    kept = list(journal.read(KeptRow))
    assert kept
    for row in kept:
        assert row.reward == pytest.approx(sums[row.task_id, row.index])


@pytest.mark.slow
def test_continued_it_does_nothing_again_and_its_page_and_its_trials_say_what_was_chosen_by(
    chosen: Path, monkeypatch: pytest.MonkeyPatch, in_process: Counter[str]
) -> None:
    monkeypatch.setattr(sys, "path", [str(chosen), *sys.path])
    folder = chosen / "run"
    config = read_config(Store(str(folder)))
    run(config, Silent())
    assert in_process["trial"] == in_process["update"] == 0
    journal = Journal(Store(str(folder)))
    kept = next(iter(journal.read(KeptRow)))
    trial = next(row.trial for row in journal.read(PlannedRow)
                 if (row.stage, row.task_id, row.index) == (kept.stage, kept.task_id, kept.index))  # fmt: skip
    said = "\n".join(lines("runs/x", explain(str(folder), trial)))
    assert f"chosen by: {f'{kept.reward:.3f}'.rstrip('0')} of gain " in said
    assert " × -0.002, " + OWN in said
    page = read_run(str(folder))
    assert page.chosen_by == f"gain × 1, length × -0.002, {OWN} × 0.001"
    (round_,) = page.rounds
    assert round_.kept_by is not None
    assert '<th scope="col">chosen by</th>' in render(page)
