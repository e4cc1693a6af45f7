"""Batched answering is `model.generate` one at a time; sampling is a matter of the spec alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import PeftModel

from seal_ray.bank import Bank, Job, SampleSpec
from seal_ray.bank.draw import inverse_cdf
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, CONFIGS, make_model, make_prompts, make_texts, make_tokenizer


def generate_alone(model, prompt, max_new_tokens):
    ids = torch.tensor([prompt])
    with torch.no_grad():
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=0
        )
    tokens = output[0, len(prompt) :].tolist()
    return tuple(tokens[: tokens.index(2)] if 2 in tokens else tokens)


@pytest.mark.slow
@pytest.mark.parametrize("family", CONFIGS)
def test_batched_greedy_answers_with_trained_adapters_equal_generate_one_at_a_time(family, tmp_path):
    prompts = make_prompts(7, seed=1)
    asked = {"prompts": prompts, "max_new_tokens": 12, "keep_adapter": True}
    jobs = [
        Job(f"{n}", make_texts(3 + n, seed=n), LoraSpec(2 + n, 8.0, ALL), OptimSpec(2e-2, 2, 2), n, **asked)
        for n in range(3)
    ]
    jobs.append(Job("untrained", None, prompts=prompts[:2], max_new_tokens=9))
    bank = Bank(make_model(family, torch.float32), make_tokenizer(), slots=2)
    results = {result.key: result for result in bank.run(jobs)}
    for job in jobs:
        model = make_model(family, torch.float32)
        if job.texts:
            results[job.key].adapter.save(tmp_path / job.key)
            model = PeftModel.from_pretrained(model, tmp_path / job.key)
        assert results[job.key].answers == tuple(generate_alone(model, p, job.max_new_tokens) for p in job.prompts)


def sample(specs, slots=2, family="llama"):
    return Bank(make_model(family), make_tokenizer(), slots=slots).sample(specs)


def make_specs(count, **settings):
    settings = {"max_new_tokens": 20, "temperature": 1.0, "top_p": 0.95} | settings
    return [SampleSpec(prompt, seed=n, **settings) for n, prompt in enumerate(make_prompts(count, seed=3))]


def test_a_long_prompt_with_room_for_little_ends_while_short_ones_go_on():
    long = SampleSpec(tuple(range(3, 33)), seed=0, max_new_tokens=2, temperature=1.0)
    specs = [long, *make_specs(5, max_new_tokens=30, temperature=2.0)]
    assert max(len(spec.prompt) for spec in specs[1:]) < 20
    together = sample(specs)
    assert together == [sample([spec])[0] for spec in specs]
    assert max(len(text.ids) for text in together[1:]) > 20


def test_a_sampled_text_depends_on_its_own_spec_alone():
    specs = make_specs(12)
    together = sample(specs)
    assert sample(specs[::-1]) == together[::-1]
    assert [sample([spec])[0] for spec in specs[:4]] == together[:4]
    assert len({text.ids for text in sample([replace(specs[0], seed=seed) for seed in range(8)])}) == 8


def test_a_longer_limit_only_continues_a_sampled_text():
    short, long = sample(make_specs(4, max_new_tokens=5)), sample(make_specs(4, max_new_tokens=20))
    for few, many in zip(short, long, strict=True):
        assert many.ids[: len(few.ids)] == few.ids
        assert not few.finished or few == many


def test_temperature_zero_is_greedy_beside_sampled_rows():
    greedy, warm = make_specs(3, temperature=0.0), make_specs(3)
    model = make_model()
    texts = sample([*warm, *greedy])[3:]
    assert [text.ids for text in texts] == [generate_alone(model, spec.prompt, 20) for spec in greedy]


def test_sampled_tokens_follow_the_softmax_at_their_temperature_and_top_p():
    draw = torch.Generator().manual_seed(0)
    logits_V = torch.randn(12, generator=draw, dtype=torch.float64) * 2
    rows = 40_000
    uniform_R1 = torch.from_numpy(np.random.Generator(np.random.Philox(key=1)).random((rows, 1)))
    for temperature, top_p in ((1.0, 1.0), (0.7, 0.8), (2.0, 0.5)):
        columns = [torch.full((rows, 1), value, dtype=torch.float64) for value in (temperature, top_p)]
        tokens_R = inverse_cdf(logits_V.expand(rows, -1), uniform_R1, *columns)
        probs_V = (logits_V / temperature).softmax(-1)
        order = probs_V.argsort(descending=True)
        kept = order[: int((probs_V[order].cumsum(0) < top_p).sum()) + 1]
        expected_V = torch.zeros_like(probs_V).index_copy_(0, kept, probs_V[kept] / probs_V[kept].sum())
        counted_V = torch.bincount(tokens_R, minlength=12) / rows
        assert (counted_V - expected_V).abs().max() < 5 * (0.25 / rows) ** 0.5
        assert (counted_V[expected_V == 0] == 0).all()


def sorted_whole(logits_RV, uniform_R1, temperature_R1, top_p_R1):
    """Nucleus sampling as it is defined, every token sorted."""
    probs_RV = (logits_RV.double() / temperature_R1).softmax(-1)
    sorted_RV, order_RV = probs_RV.sort(dim=-1, descending=True, stable=True)
    beyond_RV = (sorted_RV.cumsum(-1) - sorted_RV >= top_p_R1) & (top_p_R1 < 1)
    total_RV = probs_RV.masked_fill(beyond_RV.gather(1, order_RV.argsort(-1)), 0.0).cumsum(-1)
    return torch.searchsorted(total_RV, uniform_R1 * total_RV[:, -1:], right=True)[:, 0]


@pytest.mark.parametrize("spread", [0.5, 2.0, 6.0, 30.0])
def test_a_nucleus_looked_for_among_few_tokens_gives_the_draws_of_one_looked_for_among_all(spread):
    draw = torch.Generator().manual_seed(7)
    for dtype in (torch.float32, torch.bfloat16):  # so coarse that many tokens are equally likely, at the cut too
        logits_RV = (torch.randn(300, 5000, generator=draw) * spread).to(dtype)
        uniform_R1 = torch.rand(300, 1, generator=draw, dtype=torch.float64)
        temperature_R1 = 0.3 + torch.rand(300, 1, generator=draw, dtype=torch.float64)
        top_p_R1 = torch.rand(300, 1, generator=draw, dtype=torch.float64).mul(1.25).clamp(0.01, 1.0)
        assert (top_p_R1 == 1).any()
        asked = logits_RV, uniform_R1, temperature_R1, top_p_R1
        assert torch.equal(inverse_cdf(*asked), sorted_whole(*asked))


def test_of_equally_likely_tokens_the_first_are_in_the_nucleus():
    logits_RV, many = torch.zeros(64, 3000), torch.linspace(0, 0.999, 64, dtype=torch.float64)[:, None]
    drawn_R = inverse_cdf(logits_RV, many, torch.ones_like(many), torch.full_like(many, 0.1))
    assert drawn_R.tolist() == [int(value * 300 + 1e-9) for value in many[:, 0].tolist()]


def test_generation_ends_at_the_first_stop_string_and_leaves_it_out():
    model, tokenizer = make_model(), make_tokenizer()

    def decode(ids):
        return tokenizer.decode(list(ids), skip_special_tokens=True)

    prompts = make_prompts(6, seed=8)
    free = [generate_alone(model, prompt, 12) for prompt in prompts]
    stops = (decode(free[0][3:4]), decode(free[1][4:6]))
    job = Job("it", None, prompts=prompts, max_new_tokens=12, stop=stops)
    (result,) = Bank(model, tokenizer, slots=1).run([job])
    assert any(len(ids) < len(whole) for ids, whole in zip(result.answers, free, strict=True))
    for ids, text, whole in zip(result.answers, result.answer_texts, free, strict=True):
        ends = [at + 1 for at in range(len(whole)) if any(stop in decode(whole[: at + 1]) for stop in stops)]
        assert ids == whole[: ends[0]] if ends else ids == whole
        full = decode(whole)
        assert text == full[: min([full.index(stop) for stop in stops if stop in full], default=len(full))]


def test_asking_that_runs_out_of_memory_is_halved_with_equal_answers(monkeypatch):
    specs = make_specs(9)
    whole = sample(specs)
    bank = Bank(make_model(), make_tokenizer(), slots=2)
    forward, sizes = bank.patched.model.forward, []

    def failing(*args, **kwargs):
        sizes.append(len(kwargs["logits_to_keep"]))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("injected")
        return forward(*args, **kwargs)

    monkeypatch.setattr(bank.patched.model, "forward", failing)
    assert bank.sample(specs) == whole
    assert max(sizes) == 9
