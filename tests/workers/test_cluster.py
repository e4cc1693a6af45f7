"""What kills its workers again and again is set aside where that can be, and stops the run with one line where not."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from seal_ray.adapters.lora import Adapter
from seal_ray.endpoints.patience import EndpointError, Patience
from seal_ray.generator.spec import GeneratorSpec, Lesson, Trained
from seal_ray.types import (
    BASE,
    AdapterRef,
    Completion,
    Example,
    FinetuneSpec,
    LoraSpec,
    OptimSpec,
    SampleRequest,
    Trial,
    UserError,
)
from seal_ray.workers.cluster import RayCluster
from seal_ray.workers.engines.canary import Reading
from seal_ray.workers.errors import Poisoned
from seal_ray.workers.metrics import RunMetrics
from seal_ray.workers.sampler import EngineSpec
from tests.runs import small_run

ADAPTER = AdapterRef("an adapter")
TRIAL = Trial("a task", BASE, None, 0, ("Is it?",), 4, (), ())
FINETUNE = FinetuneSpec((Example("a note"),), LoraSpec(), OptimSpec(), 7)


class Deadly:
    """A pool every call of which is the end of its workers."""

    workers = 1

    async def timed(self, method: str, *args: Any) -> Any:
        raise Poisoned(f"its worker was lost 5 times, 3 of them alone with it: {method} is too much")

    call = timed
    expecting = staticmethod(nullcontext)

    async def broadcast(self, method: str, *args: Any) -> list[Any]:
        return []


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RayCluster:
    monkeypatch.setattr("seal_ray.workers.cluster.ray.put", lambda value: value)
    cluster, config = object.__new__(RayCluster), small_run(tmp_path)
    cluster.trainers = cluster.samplers = cast(Any, Deadly())
    cluster._engine, cluster._workers = EngineSpec.of(config), config.workers
    cluster._held, cluster._probes, cluster._metrics = {}, {}, RunMetrics("deadly-1")
    cluster._patience = Patience(0, "sampling.patience")
    return cluster


def test_a_self_edit_or_a_trial_or_a_passage_that_kills_its_workers_is_set_aside(cluster: RayCluster) -> None:
    assert asyncio.run(cluster.sample(SampleRequest(BASE, "Write.", 1))).refused.startswith(
        "set aside: its worker was lost"
    )
    assert asyncio.run(cluster.ask(["What is asked of it?"], 8)) == [""]
    failure = asyncio.run(cluster.run_trial(TRIAL)).failure
    assert failure
    assert (failure.kind, failure.reason.split(":")[0]) == ("data", "set aside")
    outcome, adapter = asyncio.run(cluster.train_adapter(TRIAL))
    assert (outcome.failure and outcome.failure.kind, adapter) == ("data", None)


class Away(Deadly):
    """A pool whose samplers ask a server that is away at first."""

    def __init__(self) -> None:
        self.asked = 0

    async def timed(self, method: str, *args: Any) -> Any:
        self.asked += 1
        if self.asked < 4:
            raise EndpointError("http://here/v1: no answer (ConnectError), in all 4 tries")
        return Completion("a note", 2, finished=True), 0.0


def test_a_self_edit_waits_for_an_endpoint_that_is_away(cluster: RayCluster) -> None:
    cluster.samplers = cast(Any, Away())
    cluster._spans, cluster._on_span = [], lambda span: None
    cluster._patience = Patience(1000, "sampling.patience", between_tries=0.0)
    assert asyncio.run(cluster.sample(SampleRequest(BASE, "Write.", 1))).text == "a note"


class Served(Deadly):
    """Samplers that were checked: one told the policy from the one before it, the other could not."""

    async def timed(self, method: str, *args: Any) -> Any:
        return None, 0.0

    async def call(self, method: str, *args: Any) -> Any:
        return None

    async def broadcast(self, method: str, *args: Any) -> list[Any]:
        return [[Reading(ADAPTER, 0.001, 0.5, 1.0, 0.2, 0.9)], [], [Reading(ADAPTER, 0.001, 0.5, 1.0, 0.0002, None)]]


def test_every_reading_of_the_canary_is_logged_and_one_that_cannot_tell_is_a_warning(
    cluster: RayCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.trainers = cluster.samplers = cast(Any, Served())
    with caplog.at_level(logging.INFO, "seal_ray.workers.cluster"):
        asyncio.run(cluster.hold({ADAPTER: Adapter(1, 1.0, ("q_proj",), {})}, "A text."))
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    told, untold = caplog.messages
    assert told.endswith("of its effect of 0.5000 100% arrived, of its step of 0.2000 90%")
    assert untold.endswith("of its step of 0.0002 too little to tell")


def test_an_update_that_kills_its_workers_stops_the_run_with_one_line(cluster: RayCluster) -> None:
    with pytest.raises(UserError, match=r"the update cannot be done: its worker was lost 5 times.*same command") as one:
        asyncio.run(cluster.update(FINETUNE))
    assert "\n" not in str(one.value)


def test_a_generator_whose_training_kills_its_workers_stops_the_run_with_one_line(cluster: RayCluster) -> None:
    spec = GeneratorSpec((Lesson((Example("a note"),)),), LoraSpec(), 1, 1e-3, 7)
    with pytest.raises(UserError, match=r"the training of a generator cannot be done: .*train_generator is too much"):
        asyncio.run(cluster.train_generator(spec, Trained(), 1))
    with pytest.raises(UserError, match=r"the writing of adapters cannot be done: .*write_adapters is too much"):
        asyncio.run(cluster.write_adapters(LoraSpec(), Trained(), [()]))


def test_a_probe_that_kills_its_workers_stops_the_run_with_one_line(cluster: RayCluster) -> None:
    cluster._engine = EngineSpec("vllm", 16)
    with pytest.raises(UserError, match=r"the check of the policy cannot be done: .*probe is too much"):
        asyncio.run(cluster.hold({ADAPTER: Adapter(1, 1.0, ("q_proj",), {})}, "A text."))
