"""Batched answering is `model.generate` one at a time; sampling is a matter of the spec alone."""


import pytest
import torch
from peft import PeftModel

from seal_ray.bank import Bank, Job
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


@pytest.mark.parametrize("family", CONFIGS)
def test_batched_greedy_answers_with_trained_adapters_equal_generate_one_at_a_time(family, tmp_path):
    prompts = make_prompts(7, seed=1)
    jobs = [
        Job(
            f"{n}",
            make_texts(3 + n, seed=n),
            LoraSpec(2 + n, 8.0, ALL),
            OptimSpec(2e-2, 2, 2),
            n,
            prompts,
            12,
            keep_adapter=True,
        )  # fmt: skip
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
