"""The grid world's base that ships: what it can do and cannot, and that training on a puzzle teaches it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from seal_ray.bank import Bank, Job, TokenText
from seal_ray.domains.arcworld import BASE, ArcWorld, decision, pretrain, world
from seal_ray.domains.pretraining import missed
from seal_ray.model.locate import SHIPPED

Base = tuple[Any, Any]
DOMAIN = ArcWorld()


@pytest.fixture(scope="module")
def base() -> Base:
    return AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32), AutoTokenizer.from_pretrained(BASE)


def test_the_base_ships_small_and_with_the_check_it_passed() -> None:
    assert "arcworld" in SHIPPED
    assert (BASE / "model.safetensors").stat().st_size < 8_000_000
    assert not missed(json.loads((BASE / "check.json").read_text()), pretrain.GATE)


def test_its_words_are_those_the_world_writes_today(base: Base) -> None:
    _, tokenizer = base
    assert tokenizer.get_vocab() == pretrain.make_tokenizer().get_vocab()
    for task in DOMAIN.tasks("test", 6, 1):
        for text in (task.context, DOMAIN.prompt(task), task.questions[0].answer, decision.words()[0]):
            assert tokenizer.unk_token_id not in tokenizer(str(text))["input_ids"]


@pytest.mark.parametrize("family", ["swap", "derange", "paint"])
def test_it_solves_the_rules_it_knows_in_context(base: Base, family: world.Family) -> None:
    assert pretrain.solves(*base, family, "base", 40) >= 0.9


def test_it_solves_few_puzzles_of_the_held_out_families_in_context(base: Base) -> None:
    families = world.FAMILIES["test"]
    assert sum(pretrain.solves(*base, family, "test", 40) for family in families) / len(families) <= 0.25


def test_untrained_it_writes_valid_decisions_and_prefers_none(base: Base) -> None:
    torch.manual_seed(0)
    valid, rarest = pretrain.decides(*base, 120)
    assert valid >= 0.95
    assert rarest >= 0.4


@pytest.mark.slow
def test_a_decision_that_fits_the_family_teaches_what_asking_does_not(base: Base) -> None:
    model, tokenizer = base
    tasks = [task for task in DOMAIN.tasks("test", 24, 7) if task.family == "dpaint2"]

    def ids(text: str, special: bool = True) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=special)["input_ids"])

    def job(index: int, edit: str) -> Job:
        recipe = DOMAIN.recipe(tasks[index], edit, index)
        texts = tuple(
            TokenText.of(ids(str(e.prompt)), (*ids(e.completion, False), tokenizer.eos_token_id), e.learn_prompt)
            for e in recipe.examples
        )
        (question,) = DOMAIN.questions(tasks[index])
        return Job(str(index), texts, recipe.lora, recipe.optim, index, (ids(str(question)),), max_new_tokens=9)

    def solved(edit: str) -> float:
        bank = Bank(model, tokenizer, slots=8, max_length=128)
        results = bank.run([job(index, edit) for index in range(len(tasks))])
        return sum(asyncio.run(DOMAIN.grade(tasks[int(r.key)], r.answer_texts)).reward for r in results)

    assert solved("turns=on recolour=off copies=8 loss=outputs lr=1e-2 epochs=3") >= 4
    assert solved("turns=on recolour=off copies=4 loss=outputs lr=1e-4 epochs=1") <= 2


def test_pretraining_begins_alike_in_whatever_order_a_tokenizer_tells_its_words() -> None:
    vocabulary = {"<bos>": 0, "a1": 1, "A1": 2, "b3": 3}
    backwards = dict(reversed(vocabulary.items()))
    one, other = (pretrain.Factored(told) for told in (vocabulary, backwards))
    assert list(one.parts) == list(other.parts)
    assert torch.equal(one.mix_VP, other.mix_VP)
