"""What a trainer makes of its bank's failures."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from seal_ray.model.loading import ModelSpec
from seal_ray.types import BASE, Example, FinetuneSpec, LoraSpec, OptimSpec, Outcome, Recipe, Trial
from seal_ray.workers.errors import WorkerLost
from seal_ray.workers.trainer import Trainer
from tests.workers.tiny import Reference, write_adapter, write_model


def test_a_trial_that_does_not_fit_in_memory_earns_no_reward_here_and_goes_to_another_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe((Example("a text"),), LoraSpec(2, 2.0, ("q_proj",)), OptimSpec())
    trial = Trial("task", BASE, recipe, 1, ("a question",), 4)

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
    trial = Trial("task", BASE, None, 0, (), statements=(statement,))

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


def test_a_trial_is_held_against_the_policy_that_it_names_and_only_where_that_is_there_still(tmp_path: Path) -> None:
    folder, below, reference = write_model(tmp_path), write_adapter(1), write_adapter(2)
    trial = Trial("task", below.ref, None, 0, (), statements=(Example("a heron", "Who eats?\n", whole=False),))

    async def tried() -> list[tuple[float, ...]]:
        trainer = Trainer(ModelSpec(str(folder), None, "float32", 64), 1, 0)
        await trainer.setup()
        await trainer.hold(below, reference)
        held = [replace(trial, reference=ref) for ref in (None, below.ref, reference.ref, BASE)]
        outcomes = await asyncio.gather(*map(trainer.run_trial, held))
        await trainer.hold(below)
        with pytest.raises(RuntimeError, match="a trainer that does not hold it"):
            await trainer.run_trial(held[2])
        whole = await trainer.run_trial(replace(held[3], recipe=Recipe((Example("a text"),), lora=None)))
        assert whole.failure
        assert "and not held against a reference" in whole.failure.reason
        return [outcome.divergences for outcome in outcomes]

    untold, itself, *others = asyncio.run(tried())
    assert (untold, itself) == ((), (0.0,))
    assert min(others) > (0.1,)
    assert replace(trial, reference=BASE).key != trial.key == replace(trial, reference=None).key


def test_what_a_trial_is_held_to_is_what_an_update_is_held_to(tmp_path: Path) -> None:
    spec = ModelSpec(str(write_model(tmp_path)), None, "float64", 64)
    below, held = write_adapter(1), (Example("a heron", "Who eats?\n", whole=False),)
    recipe = Recipe((Example("The heron eats figs."),), LoraSpec(2, 2.0, ("q_proj",)), OptimSpec(lr=1e-2, epochs=5))
    anchored = replace(recipe, anchors=held, kl_coef=2.0)
    assert anchored.key != recipe.key == replace(anchored, anchors=(), kl_coef=0.0).key

    async def trained() -> list[dict[str, np.ndarray]]:
        trainer = Trainer(spec, 2, 0)
        await trainer.setup()
        await trainer.hold(below)
        tried = [await trainer.train_adapter(Trial("task", below.ref, each, 1, ())) for each in (anchored, recipe)]
        of_update = FinetuneSpec(recipe.examples, recipe.lora or LoraSpec(), recipe.optim, 1, held, 2.0, base=below.ref)
        updated = (await trainer.update(of_update)).adapter
        return [each.tensors for each in (*(adapter for _, adapter in tried if adapter), updated)]

    found, free, updated = asyncio.run(trained())
    for name, tensor in updated.items():
        np.testing.assert_allclose(found[name], tensor, atol=1e-12)
    assert max(np.abs(free[name] - updated[name]).max() for name in updated) > 1e-3


def test_a_trial_ends_under_the_adapter_it_began_with_while_others_come_and_go(tmp_path: Path) -> None:
    """Nothing is waited for: adapters change between two steps of what is under way."""
    spec = ModelSpec(str(write_model(tmp_path)), None, "float32", 64)
    below, another = write_adapter(1), write_adapter(2)
    recipe = Recipe((Example("The heron eats figs."),), LoraSpec(2, 2.0, ("q_proj",)), OptimSpec(epochs=40))
    trial = Trial("task", below.ref, recipe, 1, ("Who eats?",), 8)

    async def tried(change: bool) -> Outcome:
        trainer = Trainer(spec, 2, 0)
        await trainer.setup()
        await trainer.hold(below)
        under_way = asyncio.create_task(trainer.run_trial(trial))
        while not trainer._bank.in_use():
            await asyncio.sleep(0)
        if change:
            await trainer.hold(another)
            assert not under_way.done()
            assert trainer._bank.residents.keys() == {below.ref.key, another.ref.key}
            with pytest.raises(RuntimeError, match="a trainer that does not hold it"):
                await trainer.run_trial(trial)
            await trainer.run_trial(replace(trial, base=another.ref))
        outcome = await under_way
        assert trainer._bank.residents.keys() == {(another if change else below).ref.key}
        return outcome

    alone, beside = asyncio.run(tried(False)), asyncio.run(tried(True))
    assert beside.answers == alone.answers
    assert (beside.first_loss, beside.last_loss) == pytest.approx((alone.first_loss, alone.last_loss), abs=1e-5)


def test_trials_that_are_trained_side_by_side_share_the_seconds_that_their_trainer_took(tmp_path: Path) -> None:
    recipe = Recipe((Example("The heron eats figs."),), LoraSpec(2, 2.0, ("q_proj",)), OptimSpec(epochs=10))
    spec = ModelSpec(str(write_model(tmp_path)), None, "float32", 64)

    async def tried() -> tuple[list[Outcome], float]:
        trainer = Trainer(spec, 4, 0)
        await trainer.setup()
        began = time.perf_counter()
        trials = (Trial(f"task-{seed}", BASE, recipe, seed, ("Who eats?",), 4) for seed in range(4))
        outcomes = await asyncio.gather(*map(trainer.run_trial, trials))
        return outcomes, time.perf_counter() - began

    outcomes, took = asyncio.run(tried())
    assert 0 < sum(outcome.seconds for outcome in outcomes) <= took
