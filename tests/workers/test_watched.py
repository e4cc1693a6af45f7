"""How far an update is, is told while one trainer alone is at it; several tell of every step (test_data_parallel)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from seal_ray.domains.microworld.domain import LORA, MicroWorld
from seal_ray.types import Example, FinetuneSpec, OptimSpec
from seal_ray.workers import watched as watching
from seal_ray.workers.base import open_cluster
from seal_ray.workers.watched import watched
from tests.runs import small_run

EXAMPLES = tuple(Example(task.context) for task in MicroWorld().tasks("train", 10, 1))
FINETUNE = FinetuneSpec(EXAMPLES, LORA, OptimSpec(lr=1e-4, epochs=60, batch_size=4), seed=7)


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_LOOK", 0.02)


def updated(folder: Path, *settings: str) -> list[int]:
    """What is told of an update."""
    told: list[int] = []

    async def main() -> None:
        async with open_cluster(small_run(folder, *settings), on_span=lambda span: None) as cluster:
            await cluster.hold({}, "")
            result = await cluster.update(FINETUNE, told.append)
            assert len(result.losses) == FINETUNE.optim.steps(len(EXAMPLES)) == 180

    asyncio.run(main())
    return [steps for steps in told if steps]  # none are before it begins, and once it has ended


def test_a_trainer_in_this_process_tells_how_far_it_is(tmp_path: Path) -> None:
    told = updated(tmp_path, "--workers.address", "in-process")
    assert told == sorted(told)
    assert any(0 < steps < 180 for steps in told)


@pytest.mark.usefixtures("local_ray", "forked_workers")
def test_a_trainer_elsewhere_tells_how_far_it_is(tmp_path: Path) -> None:
    told = updated(tmp_path, "--workers.trainers", "1", "--workers.slots", "1")
    assert told == sorted(told)
    assert any(0 < steps < 180 for steps in told)


def test_one_look_that_is_never_answered_is_followed_by_another() -> None:
    async def main() -> int:
        told, looks = asyncio.get_running_loop().create_future(), iter([asyncio.Event().wait(), asyncio.sleep(0)])

        async def look() -> int:
            await next(looks)
            return 3

        return await watched(told, look, told.set_result)

    assert asyncio.run(main()) == 3
