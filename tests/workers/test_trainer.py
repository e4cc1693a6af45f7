"""What a trainer makes of its bank's failures."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from transformers import AutoTokenizer

from seal_ray.model.loading import ModelSpec
from seal_ray.types import Example, LoraSpec, OptimSpec, Recipe, Trial
from seal_ray.workers.errors import WorkerLost
from seal_ray.workers.trainer import Trainer
from tests.workers.tiny import Reference, write_model


def test_a_trial_that_does_not_fit_in_memory_earns_no_reward_here_and_goes_to_another_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe((Example("a text"),), LoraSpec(2, 2.0, ("q_proj",)), OptimSpec())
    trial = Trial("task", 0, recipe, 1, ("a question",), 4)

    async def run_trial() -> None:
        trainer = Trainer(ModelSpec(str(write_model(tmp_path)), None, "float32", 64), 2, 0)
        await trainer.setup()

        def full(*_: object, **__: object) -> None:
            raise torch.OutOfMemoryError("injected")

        monkeypatch.setattr(trainer._bank.patched.model, "forward", full)
        await trainer.run_trial(trial)

    with pytest.raises(WorkerLost, match="out of memory on a single text"):
        asyncio.run(run_trial())


def test_a_statement_is_as_likely_as_the_words_of_its_answer_whatever_the_model_thinks_of_ending_there(
    tmp_path: Path,
) -> None:
    folder = write_model(tmp_path)
    statement = Example("a heron", "Who eats?\n", whole=False)
    trial = Trial("task", 0, None, 0, (), statements=(statement,))

    async def run_trial() -> float:
        trainer = Trainer(ModelSpec(str(folder), None, "float32", 8), 1, 0)
        await trainer.setup()
        (found,) = (await trainer.run_trial(trial)).log_likelihoods
        return found

    ids = AutoTokenizer.from_pretrained(folder)("Who eats?\na heron").input_ids
    of_each = Reference(folder).log_probs(ids, None, tmp_path)
    assert asyncio.run(run_trial()) == pytest.approx(fmean(of_each[-len("a heron") :]), abs=1e-4)


def test_a_key_says_that_a_reply_is_not_whole_and_is_what_it_was_before_that_could_be_said() -> None:
    recipe = Recipe((Example("Ada lives in Rome.", "Who lives where?"),))
    assert recipe.key == "f3e2315ca32ebcdc6716c132"
    assert replace(recipe, examples=(replace(recipe.examples[0], whole=False),)).key != recipe.key
