"""The oracle tries every decision, leaves the worst behind, and says what the best would have come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seal_ray import config
from seal_ray.domains.arcworld import ArcWorld
from seal_ray.domains.arcworld.domain import FIXED
from seal_ray.loop.oracle import best_of, ceiling, oracle
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.report import write_report
from seal_ray.selection.reward import TrialSummary
from seal_ray.types import Task, UserError
from tests.report.build import FakeRun
from tests.runs import CONFIG

JOB = CONFIG.parent / "arc_small.toml"


class FewDecisions(ArcWorld):
    """The grid world with three decisions, so that trying all of them is quick."""

    def candidates(self) -> Iterator[str]:
        return (FIXED.replace("copies=8", "copies=4").replace("lr=1e-2", f"lr={lr}") for lr in ("1e-4", "5e-3", "1e-2"))


def task(name: str, family: str) -> Task:
    return Task(name, name, "", (), family)


A, B = [task("a0", "a"), task("a1", "a")], [task("b0", "b"), task("b1", "b")]
RIGHT, WRONG, FAILED = TrialSummary(1.0, ""), TrialSummary(0.0, ""), TrialSummary(0.0, "more steps than allowed")
FOUND = {
    "x": {"a0": RIGHT, "a1": RIGHT, "b0": WRONG, "b1": WRONG},
    "y": {"a0": WRONG, "a1": WRONG, "b0": RIGHT, "b1": WRONG},
    "z": {"a0": RIGHT, "a1": WRONG, "b0": RIGHT, "b1": RIGHT},
}


def test_a_sixth_goes_on_and_never_none() -> None:
    assert best_of(FOUND, ["x", "y", "z"], [*A, *B]) == ["z"]
    assert best_of(FOUND, ["x", "y", "z"], A) == ["x"]
    many = {str(i): {"a0": RIGHT if i >= 6 else WRONG} for i in range(12)}
    assert best_of(many, list(many), A[:1]) == ["6", "7"]


def test_the_best_of_all_and_the_best_of_each_family() -> None:
    found = ceiling(FOUND, ["x", "z"], {"a": ["x"], "b": ["y"]}, {"a": A, "b": B})
    assert (found.fixed.decision, found.fixed.measured.accuracy) == ("z", 0.75)
    assert {family: best.decision for family, best in found.families.items()} == {"a": "x", "b": "z"}
    assert found.per_family.accuracy == 1.0
    assert found.lines()[1:] == ["best for a: x (100.0%)", "best for b: z (100.0%)"]


def test_the_share_of_failed_trials_stands_beside_a_ceiling_too() -> None:
    some = {"z": FOUND["z"] | {"a1": FAILED}}
    found = ceiling(some, ["z"], {"a": ["z"], "b": ["z"]}, {"a": A, "b": B})
    assert [arm.failed for arm in found.arms().values()] == [0.25, 0.25]
    assert found.per_family.reason == "more steps than allowed"
    shown = ["z (75.0%, failed trials: 25.0%)", "z (50.0%, failed trials: 50.0%)", "z (100.0%)"]
    assert [line.partition(": ")[2] for line in found.lines()] == shown
    none = ceiling({"z": dict.fromkeys(FOUND["z"], FAILED)}, ["z"], {"a": ["z"]}, {"a": A})
    assert none.arms()["best fixed decision"].void
    assert none.lines()[0] == "best of all: z (failed, failed trials: all)"


@pytest.fixture(scope="module")
def finished(_ray: None, forked_workers: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oracle") / "run"
    few = ("--domain.name", "tests.loop.test_oracle:FewDecisions", "--domain.test", "6", "--run.rounds", "0")
    run(config.load(JOB, ["--run.dir", str(folder), *few]), Silent())
    return folder


def test_every_decision_is_tried_once_and_recorded(finished: Path) -> None:
    found = oracle(str(finished), Silent())
    assert found.fixed.decision in set(FewDecisions().candidates())
    assert found.fixed.measured.n == found.per_family.n == 6
    assert found.fixed.measured.failed == found.per_family.failed == 0
    assert found.per_family.accuracy >= found.fixed.measured.accuracy

    def recorded() -> list[str]:
        journal = Journal(Store(str(finished)))
        return sorted(row["key"] for row in journal.rows("outcomes"))

    before = recorded()
    tried = [row for row in Journal(Store(str(finished))).rows("planned") if row["stage"] == "oracle"]
    assert {row["arm"] for row in tried} == set(FewDecisions().candidates())
    assert oracle(str(finished), Silent()) == found
    assert recorded() == before
    assert "<html" in Path(write_report(str(finished))).read_text()


def test_where_self_edits_are_texts_there_is_no_oracle(tmp_path: Path) -> None:
    FakeRun(str(tmp_path)).write_config()
    with pytest.raises(UserError, match="'microworld' is no decision"):
        oracle(str(tmp_path), Silent())
