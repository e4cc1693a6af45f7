"""What prompts begin with alike is read once, and every one of them is answered as it would be alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import PeftModel

from seal_ray.bank import Bank, Job, SampleSpec, prefill
from seal_ray.bank.rows import Row
from seal_ray.bank.sharing import Family, families
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, CONFIGS, make_model, make_prompts, make_texts, make_tokenizer
from tests.bank.test_generate import generate_alone

STEM = tuple(range(5, 55))


class Tokens:
    """Counts what goes through the model."""

    def __init__(self, bank: Bank) -> None:
        self.count = 0
        bank.patched.model.model.embed_tokens.register_forward_hook(self._note)

    def _note(self, _: object, inputs: tuple[torch.Tensor], __: object) -> None:
        self.count += inputs[0].numel()


def alike(count: int = 5) -> tuple[tuple[int, ...], ...]:
    """Prompts that go on differently after the same 50 tokens, two the same, one where all begin, and two others."""
    ends = make_prompts(count, seed=2)
    return (*(STEM + end for end in ends), STEM + ends[0], STEM, *make_prompts(2, seed=9))


@pytest.mark.slow
@pytest.mark.parametrize("family", CONFIGS)
def test_prompts_that_begin_alike_are_answered_as_by_generate_one_at_a_time(family, tmp_path):
    asked = {"prompts": alike(), "max_new_tokens": 9, "keep_adapter": True}
    trained = [
        Job(f"{n}", make_texts(4, seed=n), LoraSpec(2, 8.0, ALL), OptimSpec(2e-2, 2, 2), n, **asked) for n in (1, 2)
    ]
    untrained = [Job("plain", None, prompts=alike(), max_new_tokens=9), Job("more", None, prompts=alike(3)[:2])]
    bank = Bank(make_model(family, torch.float32), make_tokenizer(), slots=4)
    results = {result.key: result for result in bank.run([*trained, *untrained])}
    for job in (*trained, *untrained):
        model = make_model(family, torch.float32)
        if job.texts:
            results[job.key].adapter.save(tmp_path / job.key)
            model = PeftModel.from_pretrained(model, tmp_path / job.key)
        assert results[job.key].answers == tuple(generate_alone(model, p, job.max_new_tokens) for p in job.prompts)


@pytest.mark.parametrize("budget", [40, 10_000])
@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral"])
def test_what_is_predicted_is_the_same_where_each_prompt_is_read_by_itself(family, budget, monkeypatch):
    texts = [SampleSpec(prompt, seed=n, max_new_tokens=12, temperature=1.0) for n, prompt in enumerate(alike())]
    found = []
    for worth in (prefill.WORTH, 10**9):
        monkeypatch.setattr(prefill, "WORTH", worth)
        bank = Bank(make_model(family), make_tokenizer(), slots=2, max_tokens_per_microbatch=budget)
        tokens = Tokens(bank)
        found.append((bank.sample(texts), tokens.count))
    (shared, fewer), (alone, more) = found
    assert shared == alone
    assert more - fewer == 6 * (len(STEM) - 1), "the stem is read once instead of seven times"


def test_jobs_that_train_nothing_are_asked_together_and_read_once_what_they_begin_with():
    bank = Bank(make_model(), make_tokenizer(), slots=8)
    tokens = Tokens(bank)
    prompts = [STEM + end for end in make_prompts(8, seed=4)]
    results = {
        r.key: r.answers
        for r in bank.run(Job(f"{n}", None, prompts=(p,), max_new_tokens=1) for n, p in enumerate(prompts))
    }
    assert results == {f"{n}": (generate_alone(make_model(), prompt, 1),) for n, prompt in enumerate(prompts)}
    assert tokens.count < 2 * len(STEM) + sum(len(prompt) - len(STEM) for prompt in prompts)


def test_a_prompt_is_read_with_those_before_it_where_that_saves_more():
    draw = np.random.default_rng(1)
    one, two = draw.integers(0, 9, 100), draw.integers(100, 109, 100)
    ends = draw.integers(10, 99, (4, 5))
    few = prefill.WORTH - 1

    def found(*texts: tuple[int, np.ndarray]) -> list[Family]:
        rows = [Row(slot, ids, np.array([len(ids) - 1])) for slot, ids in texts]
        return families(rows, [len(row.ids) - 1 for row in rows], prefill.WORTH)

    a, b, c, d = (np.concatenate([one, end]) for end in ends)
    assert found((0, a), (0, b), (0, c)) == [Family(range(3), 100)]
    assert found((0, a), (1, b), (1, c)) == [Family(range(1), 0), Family(range(1, 3), 100)], "of one slot"
    assert found((0, a), (0, a), (0, a)) == [Family(range(3), 104)], "the last token is one's own"
    assert found((0, one[:few]), (0, one[:few])) == [Family(range(1), 0), Family(range(1, 2), 0)]
    half = np.concatenate([one[:50], two])
    assert found((0, a), (0, b), (0, half)) == [Family(range(3), 50)], "50 tokens twice, or 100 once"
    assert found((0, a), (0, b), (0, c), (0, half)) == [Family(range(3), 100), Family(range(3, 4), 0)]
    assert found((0, d)) == [Family(range(1), 0)]


def test_an_adapter_whose_predictions_are_no_numbers_breaks_no_prompt_of_others():
    bank = Bank(make_model(), make_tokenizer(), slots=3)
    good = Job(
        "good",
        make_texts(3, seed=1),
        LoraSpec(2, 8.0, ALL),
        OptimSpec(1e-2, 1, 2),
        1,
        prompts=alike(),
        max_new_tokens=4,
    )
    plain = Job("plain", None, prompts=alike(), max_new_tokens=4)
    bad = Job(
        "bad",
        make_texts(3, seed=2),
        LoraSpec(2, 8.0, ALL),
        OptimSpec(1e308, 4, 2),
        2,
        prompts=alike(),
        max_new_tokens=4,
    )
    together = {result.key: result for result in bank.run([good, bad, plain])}
    assert together["bad"].failure
    for job in (good, plain):
        (alone,) = Bank(make_model(), make_tokenizer(), slots=3).run([job])
        assert together[job.key].answers == alone.answers
