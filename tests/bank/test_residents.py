"""Several adapters lie in one bank, and every job starts from its own; the others change nothing for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seal_ray.adapters.lora import Adapter, tensor_names
from seal_ray.bank import Bank, Job, SampleSpec
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import make_model, make_prompts, make_texts, make_tokenizer
from tests.bank.test_generate import generate_alone
from tests.bank.test_neighbours import assert_same

MODULES = {name: f"model.layers.{layer}.{part}" for layer, part, name in (
    (0, "self_attn.q_proj", "q"), (1, "self_attn.v_proj", "v"), (1, "mlp.down_proj", "down"), (0, "mlp.up_proj", "up"),
)}  # fmt: skip
KEYS = tuple(f"adapter-{number}" for number in range(8))


def make_bank(slots=50, keys=KEYS):
    bank = Bank(make_model(), make_tokenizer(), slots=slots)
    for key in keys:
        bank.load(key, make_adapter(bank, key))
    return bank


def make_adapter(bank, key):
    """Of a rank, a scale and modules of its own."""
    number = int(key.rpartition("-")[2])
    draw = np.random.default_rng(number)
    rank, tensors = 1 + number, {}
    widths = {module.name: (module.width_in, module.width_out) for module in bank.patched.modules}
    for name in (*MODULES, *MODULES)[number % 4 : number % 4 + 1 + number % 3]:
        (width_in, width_out), names = widths[MODULES[name]], tensor_names(MODULES[name])
        tensors |= {names[0]: draw.normal(0, 0.3, (rank, width_in)), names[1]: draw.normal(0, 0.3, (width_out, rank))}
    return Adapter(rank, 0.5 * rank, tuple(MODULES), tensors)


def make_jobs(count, prompts=1):
    targets = (("q_proj",), ("q_proj", "up_proj"), ("v_proj", "down_proj"))
    return [
        Job(
            f"{n}",
            make_texts(1 + n % 3, seed=n, high=9),
            LoraSpec(1 + n % 4, 4.0, targets[n % 3]),
            OptimSpec(1e-2, 1 + n % 2, 2),
            seed=n,
            prompts=make_prompts(prompts, seed=n % 40),
            max_new_tokens=2,
            statements=make_texts(1, seed=n),
            keep_adapter=True,
            base=KEYS[n * 5 % 8],
        )
        for n in range(count)
    ]


@pytest.mark.slow
def test_four_hundred_jobs_over_eight_adapters_in_one_bank_equal_the_same_jobs_one_adapter_at_a_time():
    jobs = make_jobs(400)
    together = {result.key: result for result in make_bank().run(jobs)}
    assert together.keys() == {job.key for job in jobs}
    for key in KEYS:
        for alone in make_bank(keys=[key]).run(job for job in jobs if job.base == key):
            assert_same(together[alone.key], alone, bound=1e-8)
    moved = [replace(jobs[0], key=key, base=key) for key in KEYS]
    first = {result.losses[0] for result in make_bank().run(moved)}
    assert len(first) == len(KEYS), "every adapter is a start of its own"


def test_texts_sampled_and_scored_under_mixed_adapters_are_those_of_each_merged_into_the_base():
    prompts, texts = make_prompts(4, seed=3), make_texts(3, seed=5)
    bank = make_bank()
    specs = [SampleSpec(prompt, 0, 0.0, max_new_tokens=6, base=base) for prompt in prompts for base in (*KEYS[::2], "")]
    sampled = dict(zip([(spec.prompt, spec.base) for spec in specs], bank.sample(specs), strict=True))
    untrained = [Job(key, None, prompts=prompts, max_new_tokens=6, base=key) for key in (*KEYS[::2], "")]
    answers = {result.key: result.answers for result in bank.run(untrained)}
    for base in (*KEYS[::2], ""):
        model = merged(bank, base)
        for number, prompt in enumerate(prompts):
            expected = generate_alone(model, prompt, 6)
            assert sampled[prompt, base].ids == answers[base][number] == expected
        alone = Bank(model, make_tokenizer(), slots=1).log_probs(texts)
        for ours, theirs in zip(bank.log_probs(texts, base), alone, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def merged(bank, key):
    """A model with an adapter added to its weights."""
    model = make_model()
    if key:
        adapter = make_adapter(bank, key)
        for module in adapter.modules:
            down, up = adapter.pair(module)
            model.get_submodule(module).weight.data += adapter.scale * torch.from_numpy(up @ down)
    return model


def test_adapters_come_and_go_while_jobs_are_under_way_and_only_one_in_use_stays():
    bank, jobs = make_bank(slots=2, keys=KEYS[:2]), [replace(job, base=KEYS[0]) for job in make_jobs(3)]
    alone = {result.key: result for result in make_bank(keys=KEYS[:1]).run(jobs)}
    for job in jobs:
        bank.submit(job)
    results = bank.step()
    assert bank.in_use() == {KEYS[0]}
    for change in (bank.drop, lambda key: bank.load(key, make_adapter(bank, KEYS[1]))):
        with pytest.raises(RuntimeError, match=r"jobs in the bank start from 'adapter-0'; take their results first"):
            change(KEYS[0])
    bank.drop(KEYS[1])
    bank.load(KEYS[2], make_adapter(bank, KEYS[2]))
    assert bank.residents.keys() == {KEYS[0], KEYS[2]}
    while bank.busy:
        results += bank.step()
    for result in results:
        assert_same(result, alone[result.key])
    bank.drop(KEYS[0])
    assert bank.residents.keys() == {KEYS[2]}
    down, up = make_adapter(bank, KEYS[2]).pair(next(iter(make_adapter(bank, KEYS[2]).modules)))
    assert bank.residents[KEYS[2]] >= down.nbytes + up.nbytes


def test_a_job_that_starts_from_what_is_not_loaded_is_refused_when_it_is_given():
    bank = make_bank(keys=KEYS[:1])
    with pytest.raises(ValueError, match=r"no adapter is loaded as 'adapter-7'; load it first \(loaded: 'adapter-0'\)"):
        bank.submit(make_jobs(8)[3])
    with pytest.raises(ValueError, match="no adapter is loaded as 'elsewhere'"):
        bank.sample([SampleSpec((5, 6), 0, max_new_tokens=3, base="elsewhere")])
    with pytest.raises(ValueError, match="the empty key is the untouched base"):
        bank.load("", make_adapter(bank, KEYS[0]))
    assert not bank.busy
