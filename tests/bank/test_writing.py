"""A text that is over leaves its place to the next; each is what it is alone, and nothing is computed for none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from seal_ray.bank import Bank, Job, SampledText, SampleSpec, prefill, writing
from seal_ray.bank.attention import KVCache
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, WORDS, make_model, make_prompts, make_texts, make_tokenizer
from tests.bank.test_fit import SINKS, build
from tests.bank.test_not_finite import POISON, poisoned_bank
from tests.bank.test_prefill import STEM, Tokens
from tests.bank.test_residents import KEYS, make_adapter


def in_places(bank: Bank, specs: Sequence[SampleSpec], places: int, late: int = 0) -> list[SampledText]:
    """Sampled so many at once; the last `late` are asked for when the others are under way, one after each pass."""
    sampling, found = bank.sampling(places), dict[int, SampledText]()
    waiting = list(enumerate(specs))
    for _ in range(len(specs) - late):
        sampling.add(*waiting.pop(0))
    while sampling.busy or waiting:
        found.update(sampling.step())
        if waiting:
            sampling.add(*waiting.pop(0))
    return [found[number] for number in range(len(specs))]


def unequal(bases: Sequence[str] = ("",), prompts: int = 12) -> list[SampleSpec]:
    """Texts of 1 to 31 tokens, of which some are drawn; the adapters in turn."""
    return [
        SampleSpec(prompt, n, (0.0, 1.0, 0.7)[n % 3], (1.0, 0.9)[n % 2], 1 + n * 7 % 31, base=bases[n % len(bases)])
        for n, prompt in enumerate(make_prompts(prompts, seed=3))
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral"])
def test_a_text_is_its_own_whatever_place_it_has_and_whoever_had_it_before(family: str, dtype: torch.dtype) -> None:
    bank = Bank(make_model(family, dtype), make_tokenizer(), slots=2)
    for key in KEYS[:3]:
        bank.load(key, make_adapter(bank, key))
    specs = unequal(("", *KEYS[:3]))
    alone = [bank.sample([spec])[0] for spec in specs]
    assert in_places(bank, specs, 3) == alone
    assert in_places(bank, specs[::-1], 5)[::-1] == alone
    assert in_places(bank, specs, 4, late=9) == alone


def test_a_text_is_its_own_in_any_place_where_heads_have_sinks() -> None:
    bank, specs = Bank(build("gpt_oss", torch.float32, **SINKS), make_tokenizer(), slots=1), unequal()
    assert in_places(bank, specs, 3, late=4) == [bank.sample([spec])[0] for spec in specs]


def test_trials_are_answered_alike_with_room_for_few_texts_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [
        Job(f"{n}", make_texts(3, seed=n), LoraSpec(2 + n, 8.0, ALL), OptimSpec(2e-2, 2, 2), n,
            prompts=make_prompts(5, seed=n), max_new_tokens=3 + 4 * n)
        for n in range(3)
    ]  # fmt: skip
    found = []
    for room in (100_000, 4 * (12 + 11)):
        monkeypatch.setattr(writing, "CACHE_TOKENS", room)
        bank = Bank(make_model(), make_tokenizer(), slots=3)
        found.append({result.key: result.answers for result in bank.run(jobs)})
    assert found[0] == found[1]


def test_no_token_is_computed_but_those_of_prompts_and_texts() -> None:
    """Of texts from 20 to 160 tokens in 8 places, a batch until its longest is over computes nearly twice as many."""
    bank = Bank(make_model("llama", torch.float32), make_tokenizer(), slots=1)
    bank.stop_criteria.eos_ids = frozenset()
    lengths = [20 + n * 53 % 141 for n in range(32)]
    specs = [SampleSpec((5, 6 + n), n, max_new_tokens=length) for n, length in enumerate(lengths)]
    tokens = Tokens(bank)
    passes = []
    bank.patched.model.register_forward_pre_hook(lambda *_: passes.append(1))
    in_places(bank, specs, 8)
    static = sum(8 * max(lengths[at : at + 8]) for at in range(0, 32, 8))
    assert tokens.count == sum(lengths) + sum(len(spec.prompt) - 1 for spec in specs)
    assert static > 1.6 * sum(lengths)
    assert sum(lengths) / 8 < len(passes) < 0.85 * static / 8


def test_who_comes_later_goes_on_from_what_a_text_that_is_being_written_began_with() -> None:
    bank = Bank(make_model(), make_tokenizer(), slots=1)
    bank.stop_criteria.eos_ids = frozenset()
    specs = [
        SampleSpec(STEM + end, n, max_new_tokens=25 if n == 0 else 3) for n, end in enumerate(make_prompts(6, seed=2))
    ]
    alone = [bank.sample([spec])[0] for spec in specs]
    tokens = Tokens(bank)
    assert in_places(bank, specs, 2) == alone
    own = sum(len(spec.prompt) - len(STEM) for spec in specs)
    assert tokens.count == len(STEM) + own + sum(spec.max_new_tokens - 1 for spec in specs), "the stem is read once"


def test_a_text_whose_predictions_are_no_numbers_leaves_nothing_to_the_next_in_its_place() -> None:
    bank, prompts = poisoned_bank(1), [prompt for prompt in make_prompts(6, seed=3) if POISON not in prompt]
    healthy = [SampleSpec(prompt, n, max_new_tokens=9) for n, prompt in enumerate(prompts)]
    long = SampleSpec((5, 6), 9, max_new_tokens=40)  # for as long as it is written, a place is not made anew
    broken = SampleSpec((5, POISON, *range(6, 26)), 9, max_new_tokens=9)
    cut, *others = in_places(bank, [broken, long, *healthy], 2)
    assert cut.ids == ()
    assert others == [poisoned_bank(1).sample([spec])[0] for spec in (long, *healthy)]


def test_keys_and_values_never_take_more_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "CACHE_TOKENS", 128)
    usual, taken = KVCache.resize, []

    def noting(cache: KVCache, kept_R: torch.Tensor, rows: int, capacity: int) -> None:
        taken.append(rows * capacity)
        usual(cache, kept_R, rows, capacity)

    monkeypatch.setattr(KVCache, "resize", noting)
    bank = Bank(make_model(), make_tokenizer(), slots=1)
    specs = [*unequal(), SampleSpec((5,) * 60, 99, max_new_tokens=40), *unequal(prompts=5)]
    alone = [bank.sample([spec])[0] for spec in specs]
    assert in_places(bank, specs, 64, late=7) == alone
    assert 64 < max(taken) <= 128


def test_those_that_join_where_memory_runs_out_are_written_anew_with_equal_texts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank, specs = Bank(make_model(), make_tokenizer(), slots=1), unequal()
    alone = [bank.sample([spec])[0] for spec in specs]
    usual = prefill.KVCache.put

    def failing(cache: KVCache, layer: int, *rest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if cache.rows > 4:
            raise torch.OutOfMemoryError("injected")
        return usual(cache, layer, *rest)

    monkeypatch.setattr(KVCache, "put", failing)
    assert in_places(bank, specs, 64, late=9) == alone


def test_an_adapter_is_kept_while_a_text_under_it_is_asked_for_and_no_longer() -> None:
    bank = Bank(make_model(), make_tokenizer(), slots=1)
    for key in KEYS[:2]:
        bank.load(key, make_adapter(bank, key))
    bank.stop_criteria.eos_ids = frozenset()
    sampling = bank.sampling(1)
    sampling.add("first", SampleSpec((5, 6), 0, max_new_tokens=2, base=KEYS[0]))
    sampling.add("second", SampleSpec((5, 6), 0, max_new_tokens=2, base=KEYS[1]))
    assert bank.in_use() == {*KEYS[:2]}
    while "first" not in dict(sampling.step()):
        pass
    bank.drop_unused(())
    assert bank.residents.keys() == bank.in_use() == {KEYS[1]}
    while sampling.busy:
        sampling.step()
    assert bank.in_use() == frozenset()


def test_a_prompt_that_cannot_be_read_is_refused_before_it_joins_others():
    bank = Bank(make_model(), make_tokenizer(), slots=1)
    wrong = [
        ((), 4, "the prompt has no tokens"),
        ((-1,), 4, "outside the vocabulary"),
        ((WORDS,), 4, "outside the vocabulary"),
        ((7,), 0, "ask for one at least"),
    ]
    for prompt, tokens, said in wrong:
        with pytest.raises(ValueError, match=said):
            bank.sample([SampleSpec((7, 8), 1, max_new_tokens=2), SampleSpec(prompt, 1, max_new_tokens=tokens)])
