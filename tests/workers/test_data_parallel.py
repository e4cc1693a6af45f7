"""An update that several trainers share comes to what one comes to alone, whoever leaves in the middle."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seal_ray.config import Config
from seal_ray.domains.microworld.domain import LORA, MicroWorld
from seal_ray.types import Example, FinetuneSpec, OptimSpec
from seal_ray.workers.cluster import RayCluster
from seal_ray.workers.data_parallel import update_together
from seal_ray.workers.trainer import UpdateResult
from tests.runs import small_run
from tests.workers.stopped import given_up_when_stopped  # noqa: F401

pytestmark = pytest.mark.usefixtures("local_ray", "forked_workers", "given_up_when_stopped")

EXAMPLES = tuple(Example(task.context) for task in MicroWorld().tasks("train", 10, 1))
OPTIM = OptimSpec(lr=6e-3, epochs=6, batch_size=4)
HELD = tuple(Example(q.answer, q.prompt) for task in MicroWorld().tasks("train", 3, 2) for q in task.questions)
# An epoch's last batch has two texts: fewer than there are trainers.
FINETUNE = FinetuneSpec(EXAMPLES, LORA, OPTIM, 7, HELD, kl_coef=2.0)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return small_run(
        tmp_path, "--workers.trainers", "3", "--workers.slots", "1", "--workers.min_tokens_per_replica", "1"
    )


def with_three_trainers(config: Config, use: Callable[[RayCluster], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with RayCluster(config, on_span=lambda span: None) as cluster:
            await cluster.hold({}, "")
            with cluster.trainers.expecting():  # one that is ended while the machine is short is started again
                async with asyncio.timeout(600):
                    while cluster.trainers.workers < 3:
                        await asyncio.sleep(0.02)
            return await use(cluster)

    return asyncio.run(main())


def assert_equal(one: UpdateResult, other: UpdateResult) -> None:
    np.testing.assert_allclose(one.losses, other.losses, rtol=0, atol=1e-8)
    assert one.adapter.tensors.keys() == other.adapter.tensors.keys()
    for name, tensor in one.adapter.tensors.items():
        np.testing.assert_allclose(tensor, other.adapter.tensors[name], rtol=0, atol=1e-6, err_msg=name)


async def doom(cluster: RayCluster, steps: int, count: int, how: int = signal.SIGKILL) -> None:
    """So many of the trainers kill or stop themselves, when they have taken so many steps of an update."""

    def dies_at(trainer: Any) -> None:
        from seal_ray.bank.replica import Replica

        whole = Replica.advance

        def advance(self: Replica, *args: Any) -> Any:
            if self.standing() >= steps:
                os.kill(os.getpid(), how)
            return whole(self, *args)

        Replica.advance = advance  # type: ignore[method-assign]

    for member in cluster.trainers.members.ready[-count:]:
        await member.handle.__ray_call__.remote(dies_at)


def test_two_and_three_trainers_come_to_the_update_of_one_over_the_base_and_over_a_policy(config: Config) -> None:
    async def use(cluster: RayCluster) -> None:
        alone = await cluster.trainers.call("update", FINETUNE)
        for most in (2, 3):
            shared = await update_together(cluster.trainers, most, FINETUNE)
            assert shared
            assert_equal(shared, alone)
        policy = alone.adapter
        await cluster.hold({policy.ref: policy}, "")
        on_top = replace(FINETUNE, base=policy.ref)
        alone = await cluster.trainers.call("update", on_top)
        told: list[int] = []
        shared = await cluster.update(on_top, told.append)
        assert_equal(shared, alone)
        assert told == list(range(1, 19)), "every step is told of"
        assert cluster.samplers.stats.started, "what samples under the new policy next is started beside the update"
        assert shared.losses[0] < 0.9 * (await cluster.update(FINETUNE)).losses[0], "the policy lay below it"

    with_three_trainers(config, use)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_trainer_killed_or_hung_in_the_middle_of_an_update_has_its_step_done_again_by_those_left(
    how: int, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(cluster: RayCluster) -> None:
        alone = await cluster.trainers.call("update", FINETUNE)
        with caplog.at_level(logging.WARNING):
            await doom(cluster, 4, 1, how)
            shared = await update_together(cluster.trainers, 3, FINETUNE)
        assert "a trainer was lost; step" in caplog.text
        assert "of 18 is done again by the 2 left" in caplog.text
        assert shared
        assert_equal(shared, alone)

    with_three_trainers(config, use)


def test_an_update_whose_every_trainer_is_killed_begins_again(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    async def use(cluster: RayCluster) -> None:
        alone = await cluster.trainers.call("update", FINETUNE)
        with caplog.at_level(logging.WARNING):
            await doom(cluster, 4, 3)
            shared = await cluster.update(FINETUNE)
        assert "every trainer was lost; it begins again" in caplog.text
        assert_equal(shared, alone)

    with_three_trainers(config, use)
