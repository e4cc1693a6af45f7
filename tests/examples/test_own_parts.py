"""The examples of one's own parts: short, found beside a config, and each does what it says."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from seal_ray import Candidate, Config, Item, Journal, Store, load, plugins, run
from seal_ray.domains.registry import load_domain
from seal_ray.loop.preflight import look
from seal_ray.selection.reward import ChosenBy
from seal_ray.selection.rules import find_rule
from seal_ray.types import Outcome, SelfEdit, UserError

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = """[model]
path = "microworld"
max_length = 64
[domain]
name = "own_domain:Nicknames"
train = 2
test = 2
[selection]
rule = "own_rule:shortest"
[sampling]
engine = "transformers"
per_task = 2
max_tokens = 8
[trial]
seeds = 1
answer_tokens = 2
[trial.optim]
epochs = 1
[evaluation]
baselines = ["base"]
[run]
rounds = 0
[workers]
address = "in-process"
"""
QUESTIONS = '{"title": "T%d", "context": "C%d.", "questions": [{"question": "Q?", "answer": "the red door"}]}\n'


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config with the examples beside it."""
    monkeypatch.setattr(plugins, "_BESIDE", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_domain", "own_grader", "own_reward", "own_rule"):
        shutil.copy(EXAMPLES / f"{name}.py", tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "run.toml").write_text(CONFIG)
    return tmp_path / "run.toml"


@pytest.mark.parametrize("names", ['["Ash", "Birch", "Ash", "Cedar"]', '["Ash", "Birch", "Cedar", "Birch"]'])
def test_two_tasks_of_one_id_are_refused_before_anything_is_done(config: Path, tmp_path: Path, names: str) -> None:
    own = load(config, ["--domain.options.names", names, "--run.rounds", "1", "--run.dir", str(tmp_path / "run")])
    with pytest.raises(UserError, match=r"two of its tasks have the id '(Ash|Birch)'; give each one of its own"):
        run(own)
    assert not (tmp_path / "run").exists()


def test_a_task_of_both_splits_is_refused_before_anything_is_done(config: Path, tmp_path: Path) -> None:
    names = ["--domain.options.names", '["Ash", "Birch", "Cedar", "Ash"]', "--run.dir", str(tmp_path / "run")]
    with pytest.raises(UserError, match="the held-out task 'Ash' is to be learnt from too, as 'Ash'"):
        run(load(config, [*names, "--run.rounds", "1"]))
    assert not (tmp_path / "run").exists()
    assert look(load(config, names)), "nothing is learnt without a round"


def test_a_run_goes_through_ones_own_domain(config: Path, tmp_path: Path) -> None:
    tree = load(config, ["--run.dir", str(tmp_path / "run")])
    look(tree)
    assert {"base", "untrained self-edits"} == run(tree).keys()
    rows = list(Journal(Store(tree.dir)).rows("outcomes"))
    assert len(rows) == 4
    assert not any(row["failure"] for row in rows)


def test_ones_own_domain_tells_right_answers_from_wrong(config: Path) -> None:
    domain = load_domain(load(config))
    (task, *_) = domain.tasks("train", 1, 1)
    assert {t.id for t in domain.tasks("train", None, 1)}.isdisjoint(t.id for t in domain.tasks("test", None, 1))
    assert asyncio.run(domain.grade(task, [f" {task.questions[0].answer}\n"])).reward == 1
    assert asyncio.run(domain.grade(task, ["none"])).reward == 0


def test_ones_own_rule_keeps_the_two_shortest_that_taught(config: Path) -> None:
    texts = ("long enough", "short", "mid size", "no")
    found = [Candidate(SelfEdit("t", i, 0, "", text, i), better=float(text != "no")) for i, text in enumerate(texts)]
    kept = find_rule(load(config).selection.rule).choose(found, 1)
    assert [candidate.edit.completion for candidate in kept] == ["short", "mid size"]


def test_ones_own_part_of_the_reward_counts_beside_the_gain(config: Path) -> None:
    weights = load(config, ["--selection.reward.own", '{"own_reward:leads": 0.1}']).selection.reward
    chosen_by = ChosenBy.of(weights)
    edit = SelfEdit("t", 0, 0, "", "- a note\nmore\n- another", 0)
    assert chosen_by.sum(edit, chosen_by.summary(Outcome("key", reward=0.5))) == pytest.approx(0.5 + 0.1 * 2 / 3)


def test_ones_own_grader_judges_in_ones_own_way(config: Path, tmp_path: Path) -> None:
    (tmp_path / "passages.jsonl").write_text("".join(QUESTIONS % (n, n) for n in range(8)))
    source = ["--domain.name", "knowledge", "--domain.options.train", str(tmp_path / "passages.jsonl")]
    tree: Config = load(config, [*source, "--grading.name", "own_grader:Words", "--grading.options.least", "0.6"])
    grader = load_domain(tree).grader  # type: ignore[attr-defined]
    items = [Item("Q?", "the red door", answer) for answer in ("a door, the red door", "red door", "door")]
    assert asyncio.run(grader.grade(items)) == [1.0, pytest.approx(2 / 3), 0.0]


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("own_*.py")), ids=lambda path: path.stem)
def test_an_example_of_ones_own_is_short_enough_to_be_read_at_once(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 40
