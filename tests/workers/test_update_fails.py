"""An update that cannot succeed stops the run with one line, wherever its trainer is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.domains.microworld.domain import LORA, MicroWorld
from seal_ray.types import Example, FinetuneSpec, OptimSpec, UserError
from seal_ray.workers.base import open_cluster
from tests.runs import small_run

EXAMPLES = tuple(Example(task.context) for task in MicroWorld().tasks("train", 4, 1))
DIVERGES = FinetuneSpec(EXAMPLES, LORA, OptimSpec(lr=1e200, epochs=9, batch_size=2, clip_norm=0.0), seed=7)
TEACHES_NOTHING = replace(DIVERGES, examples=(Example("", "a prompt", whole=False),))


async def updated(folder: Path, finetune: FinetuneSpec, *settings: str) -> None:
    async with open_cluster(small_run(folder, *settings), on_span=lambda span: None) as cluster:
        await cluster.hold({}, "")
        await cluster.update(finetune)


@pytest.mark.parametrize(
    ("finetune", "said"),
    [
        (DIVERGES, r"the update failed: .* not finite.*; take a smaller update\.optim\.lr, in another --run\.dir"),
        (TEACHES_NOTHING, "the update failed: "),
    ],
)
def test_in_this_process(finetune: FinetuneSpec, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as raised:
        asyncio.run(updated(tmp_path, finetune, "--workers.address", "in-process"))
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("local_ray", "forked_workers")
@pytest.mark.parametrize("trainers", ["1", "2"])
def test_on_ray(trainers: str, tmp_path: Path) -> None:
    settings = "--workers.trainers", trainers, "--workers.slots", "1", "--workers.min_tokens_per_replica", "1"
    with pytest.raises(UserError, match=r"the update failed: .* not finite"):
        asyncio.run(updated(tmp_path, DIVERGES, *settings))
