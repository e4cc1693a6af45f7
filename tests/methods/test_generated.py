"""Adapters that a network writes, measured beside other methods on the micro-world."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from seal_ray.config import Config, load
from seal_ray.domains.registry import load_domain
from seal_ray.generator.spec import GeneratorSpec, Trained
from seal_ray.generator.training import Generator
from seal_ray.loop import generated
from seal_ray.loop.generated import check_generated
from seal_ray.loop.run import run
from seal_ray.methods.generated import Generated, WithAnswers
from seal_ray.policy import unfinished
from seal_ray.record.journal import Journal
from seal_ray.record.methods import Arm, by_method, learnt
from seal_ray.record.rows import StudyRow
from seal_ray.record.storage import Store
from seal_ray.types import Task, UserError
from tests.in_process import CountingCluster, run_counted
from tests.runs import results

JOB = Path(__file__).parents[2] / "jobs/methods.toml"
NAMES = ["passage", "generated", "generated-qa", "generated-start"]
SMALL = [
    *("--run.rounds", "0", "--domain.test", "3", "--evaluation.samples", "0", "--evaluation.baselines", "[]"),
    *("--trial.optim.epochs", "2", "--workers.slots", "2", "--generated.rank", "4"),
    *("--generated.passages", "9", "--generated.steps", "3"),
]


def config_in(folder: Path, *more: str, methods: list[str] = NAMES) -> Config:
    return load(JOB, [*SMALL, "--run.dir", str(folder), "--evaluation.methods", json.dumps(methods), *more])


def journal_of(folder: Path) -> Journal:
    return Journal(Store(str(folder)))


def networks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "generators").iterdir()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "run"
    run_counted(config_in(folder))
    return folder


def test_every_passage_is_asked_and_only_what_starts_from_an_adapter_is_trained(done: Path) -> None:
    rows = {row["method"]: row for row in by_method([journal_of(done)])}
    assert rows.keys() == set(NAMES)
    assert {(row["tasks"], row["failed"]) for row in rows.values()} == {(3, 0.0)}
    assert [rows[name]["trained"] for name in NAMES[1:3]] == [0, 0]
    assert rows["generated-start"]["trained"] == rows["passage"]["trained"] > 0
    losses = {
        row.last_loss for tasks in learnt(journal_of(done)).values() for each in tasks.values() for row in each.trials
    }
    assert len(losses) == 7, "three passages from the base, three on top of what was written of them, and nothing"


def test_one_network_serves_the_methods_that_ask_alike_and_the_same_command_trains_none_anew(done: Path) -> None:
    assert len(networks(done)) == 2
    before, kept = results(done), networks(done)
    CountingCluster.done.clear()
    run_counted(config_in(done))
    assert (results(done), networks(done)) == (before, kept)
    assert CountingCluster.done == {"generate": 6}, "three methods, each with three passages for two slots"


def test_one_that_was_stopped_while_its_network_was_trained_comes_to_the_same(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, whole = Counter[str](), Generator.train

    def train(self: Generator, spec: GeneratorSpec, before: Trained, steps: int) -> Trained:
        if len(before.losses) == 2 and not taken["stopped"]:
            taken["stopped"] += 1
            raise KeyboardInterrupt
        taken["steps"] += 1
        return whole(self, spec, before, steps)

    monkeypatch.setattr(Generator, "train", train)
    monkeypatch.setattr(generated, "_STEPS", 1)
    monkeypatch.setattr(unfinished, "_EVERY", 0.0)
    config = config_in(tmp_path / "run", methods=["generated"])
    with pytest.raises(KeyboardInterrupt):
        run(config)
    run(config)
    assert taken == {"stopped": 1, "steps": 3}, "none was taken twice"
    assert networks(tmp_path / "run").items() <= networks(done).items()
    assert results(tmp_path / "run")["rewards"].items() <= results(done)["rewards"].items()


def test_what_another_network_wrote_is_never_counted_with_it_and_a_damaged_one_is_trained_again(
    done: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(done, folder)
    for file in (folder / "generators").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    run(config_in(folder, methods=["generated"]))
    assert results(folder) == results(done)
    run(config_in(folder, "--generated.lr", "0.02", methods=["generated"]))
    assert len(networks(folder)) == 3
    tasks = learnt(journal_of(folder))[Arm("generated")]
    assert [len(each.trials) for each in tasks.values()] == [1, 1, 1]
    studies = [row.recipe for row in journal_of(folder).read(StudyRow) if row.method == "generated"]
    assert len(set(studies)) == len(studies) == 6


def test_settings_that_are_put_back_count_again(done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(done, folder)

    def counted() -> dict[str, list[str]]:
        return {task: [row.key for row in each.trials] for task, each in learnt(journal_of(folder))[arm].items()}

    arm, before = Arm("generated"), []
    for lr in ("0.003", "0.02", "0.003", "0.02"):
        run(config_in(folder, "--generated.lr", lr, "--generated.steps", "3", methods=["generated"]))
        before.append(counted())
    assert before[:2] == before[2:]
    assert before[0] != before[1]


@pytest.mark.usefixtures("local_ray", "forked_workers")
def test_a_worker_on_ray_writes_what_one_in_this_process_writes(done: Path, tmp_path: Path) -> None:
    run(config_in(tmp_path / "run", "--workers.address", "", methods=["generated"]))
    there, here = (learnt(journal_of(folder))[Arm("generated")] for folder in (tmp_path / "run", done))
    assert len(there) == 3
    for task, each in there.items():
        assert [row.answers for row in each.trials] == [row.answers for row in here[task].trials]


def test_a_network_without_passages_to_learn_from_is_refused(tmp_path: Path) -> None:
    domain, config = load_domain(config_in(tmp_path / "none")), config_in(tmp_path / "none")
    domain.tasks = lambda *_: [Task("bare", "a title", "Somebody: town Velmo.", ())]  # type: ignore[method-assign]
    check_generated("generated", Generated(), config, domain)
    with pytest.raises(UserError, match="generated-qa: the domain 'microworld' has no training passage with questions"):
        check_generated("generated-qa", WithAnswers(), config, domain)
    domain.tasks = lambda *_: []  # type: ignore[method-assign]
    with pytest.raises(UserError, match="generated: the domain 'microworld' has no training passage to learn from"):
        check_generated("generated", Generated(), config, domain)


def test_passages_are_drawn_until_there_are_enough_or_no_new_ones(tmp_path: Path) -> None:
    config = config_in(tmp_path / "none")
    domain = load_domain(config)
    drawn = len(domain.tasks("train", None, 1))
    many = [
        lesson for lesson, _ in zip(generated._lessons(Generated(), config, domain), range(3 * drawn), strict=False)
    ]
    assert len({lesson.text for lesson in many}) == 3 * drawn
    same = domain.tasks("train", 4, 1)
    domain.tasks = lambda *_: same  # type: ignore[method-assign]
    assert len(list(generated._lessons(Generated(), config, domain))) == 4
    (first, *_) = generated._lessons(WithAnswers(), config, domain)
    assert [each.completion for each in first.answers] == [each.answer for each in same[0].questions]
