"""Self-edits of several strategies, which are asked for by what they paid."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.config import Reward, load
from seal_ray.domains.knowledge.domain import Knowledge
from seal_ray.domains.registry import load_domain
from seal_ray.looking.again import again
from seal_ray.looking.explained import explain
from seal_ray.looking.explanation import lines
from seal_ray.loop.place import PASSAGE
from seal_ray.loop.preflight import check
from seal_ray.loop.run import run
from seal_ray.loop.strategies import Strategies, Tried, alone, check_strategies
from seal_ray.observe.progress import Silent
from seal_ray.plan.cluster import Devices
from seal_ray.plan.course import Simulation
from seal_ray.plan.rates import Rates
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.written import OF_TEXTS
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.rundir.identity import identify
from seal_ray.selection.reward import ChosenBy, TrialSummary
from seal_ray.types import BASE, Completion, Policy, SampleRequest, SelfEdit, Task, UserError
from seal_ray.workers.in_process import InProcessCluster
from tests.runs import CONFIG, Copies, results, rows, small_run

NAMES = ["copy", "reversed facts", "questions"]
WITH = [
    *("--sampling.strategies", json.dumps(NAMES), "--evaluation.baselines", "[]", "--domain.train", "3"),
    *("--domain.test", "2", "--sampling.max_tokens", "80", "--trial.optim.epochs", "4", "--update.kl_coef", "0"),
]
JOBS = CONFIG.parent
SHIPPED = ["--model.path", "microworld", "--model.dtype", "float32"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds in this process; beside it, what was on record after the first."""
    folder = tmp_path_factory.mktemp("strategies") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seal_ray.loop.session.open_cluster", InProcessCluster)
        run(small_run(folder, *WITH), Copies(folder, 1))
    return folder


def test_the_first_round_asks_for_all_in_even_shares_and_says_which_on_record(done: Path) -> None:
    of_round: dict[str, Counter[str]] = {}
    for row in rows(done, SelfEditRow):
        of_round.setdefault(row.stage, Counter())[row.strategy] += 1
    assert of_round["round 1"] == dict.fromkeys(NAMES, 3)
    assert of_round["round 2"].keys() <= set(NAMES)
    assert of_round["round 2"] != of_round["round 1"]
    assert of_round["evaluation"].keys() <= set(NAMES)


def test_what_a_task_teaches_by_its_text_alone_is_tried_once_a_task_and_round(done: Path) -> None:
    alone = [row for row in rows(done, PlannedRow) if row.stage == OF_TEXTS]
    tasks = {row.task_id for row in rows(done, SelfEditRow) if row.stage == "round 1"}
    assert sorted((row.task_id, row.policy) for row in alone) == sorted((task, p) for task in tasks for p in (0, 1))
    assert {row.arm for row in alone} == {PASSAGE}


def test_a_run_that_is_killed_and_continued_chooses_the_same(done: Path, tmp_path: Path) -> None:
    """Whatever was on record when it died: here all of round 1 and a part of what came after."""
    wanted = results(done)
    shutil.copytree(done.with_name("after round 1"), tmp_path / "run")
    before = len(rows(tmp_path / "run", SelfEditRow))

    class Dies(InProcessCluster):
        left = 4

        async def sample(self, request: SampleRequest) -> Completion:
            self.left -= bool(request.base.key)
            if not self.left:
                raise RuntimeError("the machine is gone")
            return await super().sample(request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seal_ray.loop.session.open_cluster", Dies)
        with pytest.raises(RuntimeError, match="the machine is gone"):
            run(small_run(tmp_path / "run", *WITH), Silent())
        assert before <= len(rows(tmp_path / "run", SelfEditRow)) < len(wanted["self_edits"])
        patch.setattr("seal_ray.loop.session.open_cluster", InProcessCluster)
        run(small_run(tmp_path / "run", *WITH), Silent())
    assert results(tmp_path / "run") == wanted
    assert [row.strategy for row in sorted(rows(tmp_path / "run", SelfEditRow), key=lambda row: row.key)] == [
        row.strategy for row in sorted(rows(done, SelfEditRow), key=lambda row: row.key)
    ]


def test_a_trial_is_explained_and_done_again_in_the_strategy_that_it_was_written_with(done: Path) -> None:
    edit = next(row for row in rows(done, SelfEditRow) if row.strategy == "questions" and row.stage == "round 1")
    at = ("round 1", edit.task_id, edit.index)
    place = next(row for row in rows(done, PlannedRow) if (row.stage, row.task_id, row.index) == at)
    found = explain(str(done), place.trial)
    assert found.is_recorded_recipe
    assert any(line.endswith("asked for as questions") for line in lines(str(done), found))
    assert all(again(str(done), found).same.values())
    alone = next(row for row in rows(done, PlannedRow) if row.stage == OF_TEXTS)
    assert explain(str(done), alone.trial).is_recorded_recipe


def test_the_table_of_strategies_says_what_was_paid_over_the_text_alone(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = {row.key: row.reward for row in rows(done, OutcomeRow)}
    planned = rows(done, PlannedRow)
    alone = {(row.task_id, row.policy): ended[row.trial] for row in planned if row.stage == OF_TEXTS}
    edits = {(r.stage, r.task_id, r.index): r for r in rows(done, SelfEditRow) if r.strategy == "questions"}
    of_edits = [row for row in planned if (row.stage, row.task_id, row.index) in edits and row.stage != "evaluation"]
    gains = [ended[row.trial] - alone[row.task_id, row.policy] for row in of_edits]
    tokens = sum(row.tokens for (stage, *_), row in edits.items() if stage != "evaluation")

    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(done), "--json"])
    found = json.loads(capsys.readouterr().out)
    table = {row["strategy"]: row for row in found["strategies"]}
    assert table.keys() == set(NAMES)
    assert table["questions"]["gain"] == pytest.approx(sum(gains) / len(gains))
    assert table["questions"]["gain per token"] == pytest.approx(sum(gains) / tokens)
    assert table["questions"]["trials"] == table["questions"]["self-edits"] == len(gains)
    assert {row["strategy"] for row in found["self-edits"] if row["round"] == 1} == {None, *NAMES}
    main_page = render(read_run(str(done)))
    assert "What each strategy gained" in main_page
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(done)])
    said = capsys.readouterr().out
    assert all(name in said for name in NAMES)
    assert "gain: points over training on a task's own text alone" in said


def test_strategies_are_part_of_what_a_run_is_and_none_are_as_before(done: Path, tmp_path: Path) -> None:
    with_them = small_run(done, *WITH)
    with pytest.raises(UserError, match=r"another config .*sampling.strategies"):
        run(replace(with_them, sampling=replace(with_them.sampling, strategies=())), Silent())


def paying(*, policy: Policy, stage: str, weights: Reward, made_by: int = 0) -> Counter[str]:
    """What is asked for at this place, after a round in which copies paid nothing and questions much."""
    config = load(CONFIG, ["--sampling.strategies", '["copy", "questions"]'])
    strategies, by = Strategies(config, load_domain(config)), ChosenBy.of(weights)
    task = Task("a", "t", "c", ())
    found = []
    for number in range(40):
        strategy, reward = ("copy", "questions")[number % 2], (0.2, 0.6)[number % 2] + 0.01 * (number % 5)
        edit = SelfEdit("a", number, 0, "p", f"note {number}", seed=number, tokens=30, strategy=strategy)
        found.append(by.candidate(edit, [TrialSummary(reward, tokens=(1, 500)[number % 2], forgotten=1.0)]))
    text = TrialSummary(0.3, forgotten=1.0)
    strategies.learn([Tried(task, found, alone(text, TrialSummary(0.0), by))])
    return Counter(strategies.chosen(policy, task, index, stage, made_by) for index in range(60))


def test_strategies_are_judged_by_what_their_self_edits_earned_whatever_else_those_are_chosen_by() -> None:
    at = {"policy": Policy("p", 1, BASE), "stage": "round 2"}
    plain = paying(**at, weights=Reward())
    assert plain["questions"] > 55
    assert paying(**at, weights=Reward(gain=-3.0, cost=-1.0)) == plain
    # The text alone forgets as much as they do.
    assert paying(**at, weights=Reward(memory=0.1)) == plain


def test_a_round_knows_those_before_it_also_where_no_policy_was_made_of_them() -> None:
    as_it_was = Policy("p", 0, BASE)
    assert paying(policy=as_it_was, stage="round 2", weights=Reward())["questions"] > 55
    assert paying(policy=as_it_was, stage="round 1", weights=Reward()) == Counter(copy=30, questions=30)
    assert paying(policy=as_it_was, stage="evaluation", weights=Reward()) == Counter(copy=30, questions=30)


def test_elsewhere_the_rounds_that_made_the_policy_are_known_whatever_was_learnt_on_top_of_it() -> None:
    grown = Policy("p", 5, BASE)
    untaught = Counter(copy=30, questions=30)
    assert paying(policy=grown, stage="continual", weights=Reward(), made_by=0) == untaught
    assert paying(policy=grown, stage="continual", weights=Reward(), made_by=1)["questions"] > 55


WRONG = {
    "no such style": ("copy, facts, reversed facts", '["novel"]'),
    "twice": ("names 'facts' twice", '["facts", "facts"]'),
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda name: name.replace(" ", "-"))
def test_strategies_that_there_are_not_are_refused_before_anything_starts(tmp_path: Path, wrong: str) -> None:
    said, names = WRONG[wrong]
    with pytest.raises(UserError, match=said):
        check(load(CONFIG, ["--sampling.strategies", names]))


def test_a_domain_with_one_way_of_asking_has_no_strategies(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'arcworld' asks for self-edits in one way only"):
        check(load(JOBS / "arc_small.toml", ["--sampling.strategies", '["facts"]']))
    with pytest.raises(UserError, match=r"leave sampling\.strategies empty"):
        load(CONFIG, ["--sampling.strategies", '["facts"]', "--evaluation.joint", "true"])


def of_templates(folder: Path, **texts: str) -> Path:
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def passages(templates: Path, *more: str) -> list[str]:
    return ["--domain.options.templates", str(templates), *more]


def test_ones_own_templates_are_strategies_by_their_files_names_and_their_content_is_what_the_run_is_of(
    tmp_path: Path,
) -> None:
    folder = of_templates(tmp_path / "mine", brief="Say it briefly.\n{title}\n{context}", odd="{context} Go on.")
    given = passages(folder, "--sampling.strategies", '["brief", "implications", "odd"]', *SHIPPED)
    config = load(JOBS / "knowledge_small.toml", given)
    domain = load_domain(config)
    assert isinstance(domain, Knowledge)
    check_strategies(config, domain, tries=True)
    task = domain.tasks("train", 1, 1)[0]
    assert domain.in_style("brief").prompt(task) == f"Say it briefly.\n{task.title}\n{task.context.strip()}"
    before = identify(config, domain)
    (folder / "odd.txt").write_text("{context} Go on and on.")
    assert identify(config, domain).contents != before.contents
    assert identify(config, domain).settings == before.settings


BAD = {
    "an empty folder": ({}, "no folder that holds templates"),
    "a name that is taken": ({"rewrite": "{context}"}, "'rewrite' already"),
    "no passage": ({"brief": "{title}"}, "field {context} is missing"),
}


@pytest.mark.parametrize("bad", BAD, ids=lambda name: name.replace(" ", "-"))
def test_what_is_wrong_with_a_folder_of_templates_is_said_in_one_line(tmp_path: Path, bad: str) -> None:
    texts, said = BAD[bad]
    with pytest.raises(UserError, match=re.escape(said)):
        load_domain(load(JOBS / "knowledge_small.toml", passages(of_templates(tmp_path / "mine", **texts))))


def test_a_run_with_strategies_is_planned_with_the_trial_of_each_tasks_text(tmp_path: Path) -> None:
    config = small_run(tmp_path, *WITH)
    course = Simulation(config).course(Rates(*[1e-3] * 10), Devices(1, 1), "transformers")
    planned = {(stage.name, stage.pieces) for stage in course.stages}
    assert {(f"{OF_TEXTS}: trials", 3), ("round 1: trials", 9), ("round 2: trials", 9)} <= planned


def test_a_single_strategy_may_be_given_as_its_name() -> None:
    assert load(CONFIG, ["--sampling.strategies", "copy"]).sampling.strategies == ("copy",)
