"""All weights trained in place of an adapter: the same as a loop that anyone would write, one text at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, get_scheduler

from seal_ray.bank import Bank, Job, TokenText
from seal_ray.bank.optim import batch_order
from seal_ray.model.loading import ModelSpec
from seal_ray.types import BASE, DataError, Example, LoraSpec, OptimSpec, Recipe, Trial
from seal_ray.workers.full_finetune import finetune_all_weights, merge, too_large
from seal_ray.workers.trainer import Trainer
from tests.bank.small import make_model, make_texts, make_tokenizer
from tests.workers.tiny import CONTEXT, write_adapter, write_model

OPTIM = OptimSpec(lr=1e-3, epochs=3, batch_size=2, weight_decay=0.01)
RANDOM = np.random.default_rng(0)
TEXTS = [
    TokenText.of(prompt, RANDOM.integers(5, 200, length).tolist())
    for prompt, length in (((), 9), ((7, 8, 9), 4), ((), 30), ((11,), 17), ((), 2))
]
TEXTS[2] = replace(TEXTS[2], weight=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def load(folder: Path, dtype: torch.dtype = torch.float64) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def reference(model: Any, limit: int) -> list[float]:
    """Text by text, without padding."""
    texts = [(text.ids[:limit], text.learn[:limit]) for text in TEXTS]
    batches = batch_order(len(texts), OPTIM, seed=4)
    adamw = torch.optim.AdamW(model.parameters(), lr=OPTIM.lr, weight_decay=OPTIM.weight_decay)
    schedule = get_scheduler("linear", adamw, num_warmup_steps=0, num_training_steps=len(batches))
    losses = []
    for batch in batches:
        total, count = torch.zeros((), dtype=torch.float64), 0
        for index in batch:
            ids, learn = texts[index]
            log_probs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            wanted = [at for at in range(1, len(ids)) if learn[at]]
            weight = TEXTS[index].weight
            total, count = total - weight * sum(log_probs[at - 1, ids[at]] for at in wanted), count + len(wanted)
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIM.clip_norm)
        adamw.step()
        schedule.step()
        adamw.zero_grad()
        losses.append(float((total / count).detach()))
    return losses


def test_every_weight_comes_out_as_from_a_plain_loop(folder: Path) -> None:
    ours, theirs = load(folder), load(folder)
    assert finetune_all_weights(ours, TEXTS, OPTIM, 4, 20) == pytest.approx(reference(theirs, 20), abs=1e-10)
    changed = 0
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-9, rtol=1e-9, msg=name)
        changed += not torch.equal(mine, load(folder).get_parameter(name))
    assert changed == len(list(ours.parameters()))
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_half_precision_is_computed_with_and_not_accumulated_in(folder: Path) -> None:
    small = replace(OPTIM, lr=2e-5, epochs=16, batch_size=5, schedule="constant", weight_decay=0.0)
    losses = finetune_all_weights(model := load(folder, torch.bfloat16), TEXTS, small, 4, CONTEXT)
    assert model.dtype == torch.bfloat16
    assert losses[-1] < losses[0] - 0.01, "steps too small for bfloat16 add up"


def test_a_policy_is_merged_as_the_bank_lays_it_under(folder: Path) -> None:
    adapter, model = write_adapter(3), load(folder)
    bank = Bank(load(folder), Tokens(), slots=1)
    bank.load("policy", adapter)
    merge(model, adapter)
    merged = Bank(model, Tokens(), slots=1).log_probs(TEXTS[2:3])[0]
    assert merged == pytest.approx(bank.log_probs(TEXTS[2:3], "policy")[0])


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma"])
def test_a_head_that_is_tied_to_the_embeddings_is_merged_without_them_and_stays_so_on_disk(
    family: str, tmp_path: Path
) -> None:
    job = Job("it", make_texts(3, seed=1), LoraSpec(2, 8.0, ("q_proj", "lm_head")), OptimSpec(2e-2, 3), 1)
    bank = Bank(make_model(family), make_tokenizer(), slots=1)
    (result,) = bank.run([replace(job, keep_adapter=True)])
    assert result.adapter
    bank.load("policy", result.adapter)
    texts = make_texts(4, seed=2)
    merge(model := make_model(family), result.adapter)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64)
    for merged in (model, again):
        found = Bank(merged, make_tokenizer(), slots=1).log_probs(texts)
        for ours, theirs in zip(found, bank.log_probs(texts, "policy"), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-6)


def test_no_dropout_of_a_models_config_is_drawn_and_activations_are_worked_out_twice_not_kept(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder, attention_dropout=0.5)
    wet = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float64)
    passes = []
    wet.model.layers[0].mlp.register_forward_pre_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    before = torch.random.get_rng_state()
    losses = finetune_all_weights(wet, TEXTS, OPTIM, 4, 20)
    assert losses == finetune_all_weights(load(folder), TEXTS, OPTIM, 4, 20)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(passes) == 2 * len(losses)
    assert not wet.training


class Tokens:
    eos_token_id = 1


@pytest.mark.slow
def test_a_trainer_asks_the_copy_and_leaves_its_own_base_alone(folder: Path) -> None:
    spec = ModelSpec(str(folder), None, "float32", 3 * CONTEXT)
    fact, question = "The heron eats figs.", "The heron eats"
    recipe = Recipe((Example(fact),), None, OptimSpec(lr=3e-3, epochs=40))
    trial = Trial("t", BASE, recipe, 1, (question,), 6)

    async def main() -> Any:
        trainer = Trainer(spec, 2, 0)
        await trainer.setup()
        before = await trainer.run_trial(replace(trial, recipe=None))
        learnt = await trainer.run_trial(trial)
        again = await trainer.run_trial(trial)
        empty = await trainer.run_trial(replace(trial, recipe=replace(recipe, examples=(Example("x"),))))
        endless = (Example("x" * 2 * CONTEXT),)
        cut = await trainer.run_trial(
            replace(trial, recipe=replace(recipe, examples=endless, optim=OptimSpec(epochs=1)))
        )
        return before, learnt, again, empty, cut, await trainer.run_trial(replace(trial, recipe=None))

    before, learnt, again, empty, cut, after = asyncio.run(main())
    assert learnt.answers == (" figs.",)
    assert (learnt.steps, learnt.tokens) == (40, 40 * len(fact))
    assert learnt.last_loss < 0.1 < learnt.first_loss
    assert (again.answers, again.last_loss) == (learnt.answers, learnt.last_loss)
    assert before.answers == after.answers != learnt.answers
    assert empty.failure
    assert empty.failure.kind == "data"
    assert (cut.tokens, cut.warnings) == (CONTEXT, (f"a text of {2 * CONTEXT} tokens cut to {CONTEXT}",))


def test_nothing_to_learn_and_too_little_memory_are_said(folder: Path) -> None:
    with pytest.raises(DataError, match="nothing to train on"):
        finetune_all_weights(load(folder), [TokenText.of((5, 6), ())], OPTIM, 0, CONTEXT)
    assert "take a smaller trial.optim.batch_size, a larger device" in str(too_large(load(folder)))
