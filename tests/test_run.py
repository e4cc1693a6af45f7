"""A run's result depends on its config alone: not on how many workers it had, or what was killed."""

from __future__ import annotations

import itertools
import random
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.policy.lineage import MAIN, adapter_of, lineage
from seal_ray.record.continual import orders
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.record.summary import summarize
from seal_ray.rundir.directory import recorded_config
from seal_ray.types import UserError
from seal_ray.workers.cluster import RayCluster
from seal_ray.workers.rebalance import Allocation
from tests.gated import Gate
from tests.runs import kill_when, results, small_run, start

pytestmark = pytest.mark.usefixtures("forked_workers")


@pytest.fixture(scope="module")
def quiet_run(_ray: None, forked_workers: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One undisturbed run on one trainer, which the others are compared with."""
    folder = tmp_path_factory.mktemp("quiet") / "run"
    run(small_run(folder, "--workers.trainers", "1"), Silent())
    return folder


def test_a_run_leaves_baselines_and_every_round_measured(quiet_run: Path) -> None:
    journal = Journal(Store(str(quiet_run)))
    assert orders(journal) == []  # nothing was learnt in a sequence
    summary = summarize(journal)
    assert set(summary) == {"base", "passage only", "untrained self-edits", "after round 1", "after round 2"}
    assert all(measured.n == 4 and measured.low <= measured.accuracy <= measured.high for measured in summary.values())
    assert summary["base"].accuracy < summary["untrained self-edits"].accuracy


def test_what_several_runs_have_measured_of_a_task_counts_once(quiet_run: Path) -> None:
    one = summarize(Journal(Store(str(quiet_run))))
    assert summarize(*(Journal(Store(str(quiet_run))) for _ in range(2))) == one


def test_two_trainers_come_to_the_same_answers_as_one(quiet_run: Path, tmp_path: Path) -> None:
    run(small_run(tmp_path / "two", "--workers.trainers", "2"), Silent())
    assert results(tmp_path / "two") == results(quiet_run)


def test_a_run_in_the_drivers_own_process_comes_to_the_same_answers(quiet_run: Path, tmp_path: Path) -> None:
    run(small_run(tmp_path / "alone", "--workers.address", "in-process"))
    assert results(tmp_path / "alone") == results(quiet_run)


def test_workers_that_move_between_rounds_change_no_outcome(
    quiet_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocations: list[Allocation] = []
    whole = RayCluster.rebalance

    def rebalance(self: RayCluster) -> Allocation:
        # The small run samples for as long as it trains; here as if sampling had taken moments.
        self._spans = [span if span.what == "trial" else replace(span, end=span.start + 1e-3) for span in self._spans]
        allocations.append(whole(self))
        return allocations[-1]

    monkeypatch.setattr(RayCluster, "rebalance", rebalance)
    moving = ("--workers.trainers", "1", "--workers.samplers", "2", "--workers.allocation", "auto")
    run(small_run(tmp_path / "moving", *moving, "--workers.tokens_in_flight", "1000"), Silent())
    assert allocations == [Allocation(2, 1)] * 2
    assert results(tmp_path / "moving") == results(quiet_run)


def test_a_finished_run_given_again_does_nothing_again(quiet_run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in quiet_run.rglob("*.parquet")}
    summary = run(recorded_config(str(quiet_run)), Silent())
    after = {path: path.stat().st_mtime_ns for path in quiet_run.rglob("*.parquet")}
    assert after == before
    assert summary == summarize(Journal(Store(str(quiet_run))))


def test_each_policy_is_the_one_before_and_one_adapter_more(quiet_run: Path) -> None:
    store = Store(str(quiet_run))
    assert [adapter_of(store, row).rank for row in lineage(Journal(store))[MAIN]] == [16, 32]


def test_a_driver_killed_at_five_random_moments_ends_with_the_same_journal(
    quiet_run: Path, local_ray: None, tmp_path: Path, forking_python: str
) -> None:
    folder, gate = tmp_path / "killed", Gate(tmp_path / "gate")
    trials = sum(bool(answers) for _, answers in results(quiet_run)["rewards"].values())
    moments = sorted(random.Random(3).sample(range(1, trials), 5))

    def begin(address: str) -> subprocess.Popen[bytes]:
        more = ("--workers.trainers", "1", "--workers.address", address, *gate.arguments)
        return start(folder, *more, python=forking_python)

    # Two have a Ray of their own, the second after the first was killed with it; the others join one that is there.
    addresses = itertools.chain(["", ""], itertools.repeat(ray.get_runtime_context().gcs_address))
    for before, moment in itertools.pairwise([0, *moments]):
        gate.allow(moment - before)
        assert kill_when(begin(next(addresses)), lambda: gate.holds), folder.with_suffix(".log").read_text()
    gate.open()
    assert begin(next(addresses)).wait(300) == 0, folder.with_suffix(".log").read_text()
    assert results(folder) == results(quiet_run)


def test_a_directory_of_another_run_is_refused_with_the_difference_and_force_moves_it_aside(
    quiet_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(small_run(folder, "--run.rounds", "0", "--evaluation.samples", "0"), Silent())
    other = small_run(folder, "--run.rounds", "0", "--evaluation.samples", "0", "--run.seed", "9")
    with pytest.raises(UserError, match=r"holds a run with another config \(run.seed: 1 -> 9\)"):
        run(other, Silent())
    old = results(folder)
    run(other, Silent(), force=True)
    assert results(folder.with_name("run.aside-1")) == old
    assert results(folder)["rewards"].keys().isdisjoint(old["rewards"])


def test_two_drivers_never_share_a_directory(tmp_path: Path) -> None:
    lock = Store(str(tmp_path)).lock()
    assert lock
    with pytest.raises(UserError, match="another process is at work here"):
        run(small_run(tmp_path), Silent())
    lock.close()


def test_a_self_edit_that_cannot_be_used_is_on_record_and_worth_nothing(
    quiet_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seal_ray.domains.microworld.domain import MicroWorld
    from seal_ray.types import DataError

    whole = MicroWorld.recipe

    def picky(self: MicroWorld, task: Any, completion: str, seed: int) -> Any:
        if task.id.endswith("001"):
            raise DataError(f"{task.id}: not this one")
        return whole(self, task, completion, seed)

    monkeypatch.setattr(MicroWorld, "recipe", picky)
    folder = tmp_path / "picky"
    run(small_run(folder, "--run.rounds", "1"), Silent())
    rows = list(Journal(Store(str(folder))).rows("outcomes"))
    failed = [row for row in rows if row["failure"]]
    assert failed
    assert all(row["failure"] == "data" and "not this one" in row["reason"] and row["reward"] == 0 for row in failed)
