"""Whole runs with real vLLM engines: two of them, two policies, one killed on the way, questions asked there too."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.loop.preflight import prepare
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import claimed
from seal_ray.types import Completion, Prompt, SampleRequest, Task, UserError
from seal_ray.workers import cluster as cluster
from seal_ray.workers.cluster import RayCluster
from tests.runs import results, small_run

pytest.importorskip("vllm", reason="vLLM is not installed here")
pytestmark = [pytest.mark.vllm, pytest.mark.usefixtures("local_ray")]

CONTEXT = 300
THROUGH_VLLM = [
    *("--sampling.engine", "vllm", "--workers.samplers", "2", "--run.rounds", "1", "--workers.trainers", "1"),
    *("--sampling.context", str(CONTEXT), "--workers.tokens_in_flight", "3400"),  # the first round needs two
]
ASIDE = "001"
"""The end of the id of a task whose prompt is longer than the engines' context."""


class OneDies:
    """Stands at the driver's door to the samplers: kills -9 the one that gives the sixth self-edit.

    By then so little is left that one engine is enough, and none is started in its place.
    """

    def __init__(self) -> None:
        self.answered: list[str] = []
        self.killed, self.started = "", 0
        self.cluster: RayCluster | None = None

    def sample(self, mine: RayCluster) -> Any:
        async def sample(request: SampleRequest) -> Completion:
            completion: Completion = await mine._timed("sample", mine.samplers, "sample", request)
            self.cluster = mine
            if not completion.refused:
                self.answered.append(completion.worker)
                if len(self.answered) == 6:
                    self.killed, self.started = completion.worker, mine.samplers.stats.started
                    os.kill(int(completion.worker.removeprefix("sampler-")), signal.SIGKILL)
            return completion

        return sample


@pytest.fixture(scope="module")
def one_long_prompt() -> Iterator[None]:
    whole = MicroWorld.prompt

    def prompt(self: MicroWorld, task: Task) -> Prompt:
        return str(whole(self, task)) * (10 if task.id.startswith("train") and task.id.endswith(ASIDE) else 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MicroWorld, "prompt", prompt)
        yield


@pytest.fixture(scope="module")
def survived(_ray: None, one_long_prompt: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OneDies]:
    folder, door = tmp_path_factory.mktemp("vllm") / "run", OneDies()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RayCluster, "sample", lambda self, request: door.sample(self)(request))
        run(small_run(folder, *THROUGH_VLLM, "--trial.eval_engine", "vllm"), Silent())
    return folder, door


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    return list(Journal(Store(str(folder))).rows(table))


def test_a_run_on_two_engines_survives_the_death_of_one_and_misses_nothing(survived: tuple[Path, OneDies]) -> None:
    folder, door = survived
    edits, found = rows(folder, "self_edits"), results(folder)
    assert Counter((row["stage"], row["policy"]) for row in edits) == {
        ("round 1", 0): 12,
        ("evaluation", 0): 4,
        ("evaluation", 1): 4,  # written by the hot-loaded policy, after its canary
    }
    assert door.killed
    assert door.started == 2
    assert door.cluster
    assert door.cluster.samplers.stats.lost == 1
    assert door.cluster.samplers.stats.retried >= 1  # what the dead engine held was asked of another
    assert len({row["worker"] for row in edits if row["completion"]}) >= 2
    assert found["planned"]
    assert set(found["planned"].values()) <= found["rewards"].keys()
    assert all(reward is not None for reward, _ in found["rewards"].values())


def test_trials_of_the_first_self_edits_begin_while_others_are_written(survived: tuple[Path, OneDies]) -> None:
    spans = rows(survived[0], "spans")
    updated = min(span["start"] for span in spans if span["what"] == "update")
    last_written = max(s["end"] for s in spans if s["what"] == "sample" and s["end"] < updated)
    early = [span for span in spans if span["what"] == "trial" and span["start"] < last_written]
    assert len(early) > 8  # there are eight trials of baselines, which wait for nobody


def test_a_prompt_beyond_the_engines_context_costs_its_own_task_alone(survived: tuple[Path, OneDies]) -> None:
    planned = {row["trial"]: row for row in rows(survived[0], "planned") if row["stage"] == "round 1"}
    outcomes = {row["key"]: row for row in rows(survived[0], "outcomes")}
    failed = {planned[key]["task_id"][-3:] for key in planned if outcomes[key]["failure"]}
    assert failed == {ASIDE}
    refused = [outcomes[key] for key, row in planned.items() if row["task_id"].endswith(ASIDE)]
    assert len(refused) == 3
    assert {row["failure"] for row in refused} == {"data"}
    assert all(f"tokens and the engine's context {CONTEXT}" in row["reason"] for row in refused)


def test_answers_through_vllm_are_the_banks(survived: tuple[Path, OneDies], tmp_path: Path) -> None:
    """The same self-edits and policies once more, their trials asked in the bank: no engine is started for it."""
    config, store = small_run(tmp_path, *THROUGH_VLLM), Store(str(tmp_path))
    with claimed(store, config, prepare(config).identity) as claim:
        journal = Journal(store, claim.run)
        journal.begin()
        for table in ("self_edits", "policies"):
            for row in Journal(Store(str(survived[0]))).rows(table):
                journal.append(table, row)
        journal.flush()
    shutil.copytree(survived[0] / "adapters", tmp_path / "adapters")
    run(config, Silent())
    through_vllm, in_bank = (
        {row["key"]: row["answers"] for row in rows(f, "outcomes")} for f in (survived[0], tmp_path)
    )
    assert through_vllm.keys() == in_bank.keys()
    answers = [(a, b) for key in in_bank for a, b in zip(through_vllm[key], in_bank[key], strict=True)]
    agree = sum(a == b for a, b in answers) / len(answers)
    assert len(answers) >= 250
    assert agree >= 0.99, f"{agree:.2%} of {len(answers)}"


def test_a_vllm_that_the_workers_lack_stops_a_run_that_asks_for_it_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['vllm'] = None")
    environment = {"env_vars": {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}}
    monkeypatch.setattr(cluster, "threads_of", lambda cpus: environment)
    with pytest.raises(UserError, match=r'"vllm", which is not installed here; install seal-ray\[vllm\]'):
        run(small_run(tmp_path / "run", *THROUGH_VLLM, "--evaluation.baselines", "[]"), Silent())


def test_policies_that_no_engine_could_hold_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="up to rank 512, and this run needs rank 600; lower it"):
        run(small_run(tmp_path / "run", *THROUGH_VLLM, "--update.lora.rank", "300", "--run.rounds", "2"), Silent())
    assert not (tmp_path / "run").exists()
