"""Adapters that a network writes in one pass, on tiny models in float64."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from seal_ray.adapters.lora import Adapter
from seal_ray.bank import Bank, TokenText
from seal_ray.generator.reading import Rows, laid_on
from seal_ray.generator.spec import GeneratorSpec, Lesson, Text, Trained
from seal_ray.generator.training import Exercise, Generator
from seal_ray.types import Example, LoraSpec, UserError
from seal_ray.workers.engines.text import render_example
from tests.bank.small import make_model, make_tokenizer

LORA = LoraSpec(3, 6.0, ("q_proj", "o_proj", "down_proj"))
PASSAGES: list[Text] = [
    (Example("w5 w6 w7 w8 w9"),),
    (Example("w10 w11 w12"), Example("w13 w14 w15 w16 w17 w18 w19")),
    (Example(" ".join(f"w{20 + n % 30}" for n in range(40))),),
]
TOKENIZER = make_tokenizer()


def tokenise(example: Example) -> TokenText:
    return TokenText.of(*render_example(TOKENIZER, example))


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank(make_model(), TOKENIZER, slots=4, max_length=256)


def generator(bank: Bank, longest: int = 256, most: int = 2048, lora: LoraSpec = LORA) -> Generator:
    return Generator(bank.patched, tokenise, lora, longest, most)


def spec(lessons: list[Lesson] | None = None) -> GeneratorSpec:
    found = lessons or [Lesson(text, (Example("w7", "w5 w6", whole=False),)) for text in PASSAGES]
    return GeneratorSpec(tuple(found), LORA, 12, 1e-2, 1)


@pytest.fixture(scope="module")
def trained(bank: Bank) -> Trained:
    """After a few steps, so that nothing in it is zero."""
    return generator(bank).train(spec(), Trained(), 5)


def difference(one: Adapter, other: Adapter) -> float:
    assert one.tensors.keys() == other.tensors.keys()
    return max(float(np.abs(one.tensors[name] - other.tensors[name]).max()) for name in one.tensors)


def test_an_adapter_is_what_the_formula_says_worked_out_by_hand(bank: Bank, trained: Trained) -> None:
    (adapter,) = generator(bank).write(trained, PASSAGES[1:2])
    name, model = "model.layers.0.self_attn.q_proj", bank.patched.model
    parts = generator(bank).network.parts(torch.tensor(trained.numbers[0]))
    k_RI, v_RE, u_OR = parts[name]
    embedding, norm = model.get_input_embeddings().weight, model.model.layers[0].input_layernorm
    memory = torch.zeros(3, 3, dtype=torch.float64)
    for example in PASSAGES[1]:
        ids = tokenise(example).ids
        for token, following in itertools.pairwise(ids):
            given, after = norm(embedding[token]), embedding[following]
            memory += torch.outer(
                v_RE @ (after / after.square().mean().sqrt()), k_RI @ (given / given.square().mean().sqrt())
            )
    down, up = adapter.pair(name)
    assert np.abs(down - k_RI.numpy()).max() == 0
    assert np.abs(up - (u_OR @ (3**0.5 * memory / memory.norm())).detach().numpy()).max() < 1e-6
    assert np.abs(up).max() > 1e-3


def test_gradients_are_those_of_the_loss(bank: Bank, trained: Trained) -> None:
    made, weight_G = generator(bank), torch.tensor(trained.numbers[0])
    exercises = [made.exercise(spec(), step, number) for step in range(6) for number in range(3)]
    assert {len(exercise.said) - len(exercise.read) for exercise in exercises} > {1}, (
        "some are read whole, and some not"
    )
    _, grad_G = made.loss_and_grad(weight_G, exercises)
    draw = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction_G, step = torch.randn(weight_G.shape, generator=draw, dtype=torch.float64), 1e-4
        ahead, behind = (made.loss_and_grad(weight_G + by * direction_G, exercises)[0] for by in (step, -step))
        # A base's norms are computed in float32, which leaves noise in whatever is so small a difference.
        assert float((ahead - behind) / (2 * step)) == pytest.approx(float(grad_G @ direction_G), rel=1e-3)


def test_few_tokens_in_a_pass_or_many_come_to_the_same_gradient(bank: Bank, trained: Trained) -> None:
    weight_G = torch.tensor(trained.numbers[0])
    exercises = [generator(bank).exercise(spec(), 0, number) for number in range(3)]
    whole, split = (generator(bank, most=most).loss_and_grad(weight_G, exercises) for most in (2048, 16))
    assert float((whole[0] - split[0]).abs()) < 1e-12
    assert float((whole[1] - split[1]).abs().max()) < 1e-12


def test_passages_that_are_read_together_get_what_each_gets_alone(bank: Bank, trained: Trained) -> None:
    together = generator(bank).write(trained, PASSAGES)
    alone = [generator(bank, most=8).write(trained, [passage])[0] for passage in PASSAGES]
    assert max(map(difference, together, alone)) < 1e-8
    assert difference(together[0], together[1]) > 1e-3


def test_a_passage_longer_than_a_text_may_be_is_read_in_pieces(bank: Bank, trained: Trained) -> None:
    words = PASSAGES[2][0].completion.split()
    ids = tokenise(PASSAGES[2][0]).ids
    at = 16 - (len(ids) - len(words))  # what a tokenizer puts before a text counts too
    made = generator(bank, longest=16)
    (long,) = made.write(trained, PASSAGES[2:])
    assert difference(long, generator(bank).write(trained, PASSAGES[2:])[0]) > 1e-6, "no piece sees those before it"
    (first,) = made.write(trained, [(Example(" ".join(words[:at])),)])
    assert difference(long, first) > 1e-6, "what comes later is in it"
    exercise = made.exercise(spec([Lesson(PASSAGES[2])]), 0, 0)
    assert max(len(text.ids) for text in exercise.said) <= 16


def test_a_passage_without_a_token_is_written_an_adapter_that_changes_nothing(bank: Bank, trained: Trained) -> None:
    nothing, something = generator(bank).write(trained, [(), PASSAGES[0]])
    _, up = nothing.pair(nothing.modules[0])
    assert not up.any()
    assert difference(something, generator(bank).write(trained, PASSAGES[:1])[0]) < 1e-8
    weight_G, said = torch.tensor(trained.numbers[0]), tokenise(PASSAGES[0][0])
    for read, finds_something in (((), False), ((said.ids[:1],), True)):
        loss, grad_G = generator(bank).loss_and_grad(weight_G, [Exercise(read, (said,))])
        assert bool(loss > 0) is finds_something
        assert not grad_G.any(), "one token is followed by nothing"


def test_the_bank_answers_with_what_was_written_as_the_network_was_trained_to_have_it(
    bank: Bank, trained: Trained
) -> None:
    adapters = generator(bank).write(trained, PASSAGES)
    text = tokenise(Example("w5 w6 w7 w8 w20 w21"))
    bank.load_missing({adapter.ref.key: adapter for adapter in adapters})
    asked = [bank.log_probs([text], adapter.ref.key)[0] for adapter in adapters]
    rows = Rows.of([(number, text.ids) for number in range(3)], bank.patched.device)
    factors = {}
    for name in adapters[0].modules:
        downs, ups = zip(*(adapter.pair(name) for adapter in adapters), strict=True)
        factors[name] = torch.tensor(downs[0]), torch.tensor(np.stack(ups))
    with torch.no_grad(), laid_on(bank.patched.model, factors, LORA.scale, rows):
        logits_NTV = bank.patched.model(input_ids=rows.ids_NT).logits
    wanted = logits_NTV[:, :-1].log_softmax(-1).gather(2, rows.ids_NT[:, 1:, None])[..., 0]
    assert np.abs(np.array(asked) - wanted.numpy()).max() < 1e-8
    assert len({round(each[-1], 6) for each in asked}) == 3


def test_steps_that_are_taken_in_turn_come_to_those_taken_at_once(bank: Bank) -> None:
    whole = generator(bank).train(spec(), Trained(), 100)
    assert len(whole.losses) == spec().steps == 12
    found = Trained()
    for steps in (1, 4, 100):
        found = generator(bank).train(spec(), found, steps)
    assert found.losses == whole.losses
    assert all(np.array_equal(*pair) for pair in zip(found.numbers, whole.numbers, strict=True))


def test_training_lowers_the_loss_of_giving_a_passage_back(bank: Bank) -> None:
    lessons = [Lesson(text) for text in PASSAGES]
    longer = replace(spec(lessons), steps=30, lr=2e-2)
    first, last = (generator(bank).train(longer, Trained(), steps) for steps in (1, 30))
    whole = [
        Exercise(made := tuple(tokenise(each).ids for each in text), tuple(TokenText.of((), ids) for ids in made))
        for text in PASSAGES
    ]
    before, after = (generator(bank).loss_and_grad(torch.tensor(each.numbers[0]), whole)[0] for each in (first, last))
    assert float(after) < 0.7 * float(before)


def test_targets_that_the_base_has_none_of_are_named_with_those_that_it_has(bank: Bank) -> None:
    with pytest.raises(UserError, match=r'trial\.lora\.targets: no linear module is named "query".*q_proj'):
        generator(bank, lora=LoraSpec(3, 6.0, ("query",)))
