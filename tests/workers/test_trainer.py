"""What a trainer makes of its bank's failures."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from seal_ray.types import Example, LoraSpec, OptimSpec, Recipe, Trial
from seal_ray.workers.loading import ModelSpec
from seal_ray.workers.losses import WorkerLost
from seal_ray.workers.trainer import Trainer
from tests.workers.tiny import write_model


def test_a_trial_that_does_not_fit_in_memory_earns_no_reward_here_and_goes_to_another_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe((Example("a text"),), LoraSpec(2, 2.0, ("q_proj",)), OptimSpec())
    trial = Trial("task", 0, recipe, 1, ("a question",), 4)

    async def attempt() -> None:
        trainer = Trainer(ModelSpec(str(write_model(tmp_path)), None, "float32", 64), 2, 0)
        await trainer.setup()

        def full(*_: object, **__: object) -> None:
            raise torch.OutOfMemoryError("injected")

        monkeypatch.setattr(trainer._bank.home.model, "forward", full)
        await trainer.attempt(trial)

    with pytest.raises(WorkerLost, match="out of memory on a single text"):
        asyncio.run(attempt())
