"""Layers that carry a state along a text begin each text of a pass afresh: trained, scored and asked as it is alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from seal_ray.bank import Bank, Job, SampleSpec, TokenText, prefill, writing
from seal_ray.bank.attention import CachedAttention, KVCache
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import SHAPE, make_prompts, make_texts, make_tokenizer, peft_tensors, train_alone
from tests.bank.test_generate import generate_alone
from tests.bank.test_neighbours import assert_same
from tests.bank.test_prefill import Tokens
from tests.bank.test_writing import in_places

EXPERTS = {"num_experts_per_tok": 2, "num_experts": 4, "moe_intermediate_size": 16}
DELTA = {
    **SHAPE,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "num_hidden_layers": 3,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 16}
HYBRIDS: dict[str, dict[str, Any]] = {
    "qwen3_5_text": DELTA,
    "qwen3_next": {**DELTA, **EXPERTS, "shared_expert_intermediate_size": 16},
    "olmo_hybrid": DELTA,
    "lfm2": {**SHAPE, "layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
    "granitemoehybrid": {**SHAPE, **MAMBA, "layer_types": ["mamba", "attention"], "shared_intermediate_size": 16,
                         "num_local_experts": 4, "num_experts_per_tok": 2},
    "falcon_h1": {**SHAPE, **MAMBA, "mamba_d_ssm": 64},
}  # fmt: skip
TARGETS = {
    "qwen3_5_text": ("q_proj", "o_proj", "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj", "up_proj"),
    "qwen3_next": ("q_proj", "o_proj", "in_proj_qkvz", "in_proj_ba", "out_proj", "shared_expert_gate"),
    "olmo_hybrid": ("q_proj", "k_proj", "v_proj", "a_proj", "b_proj", "g_proj", "o_proj", "down_proj"),
    "lfm2": ("q_proj", "in_proj", "out_proj", "w1"),
    "granitemoehybrid": ("q_proj", "in_proj", "out_proj", "input_linear"),
    "falcon_h1": ("q_proj", "in_proj", "up_proj"),
}
CHUNK = 64
"""Tokens that Gated DeltaNet works out at once; Mamba's chunks are shorter here."""


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these models compute in single precision whatever their own is, they do it in double."""
    monkeypatch.setattr(torch, "float32", torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def make_hybrid(kind: str, dtype: torch.dtype = torch.float64, experts: str = "eager") -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = CONFIG_MAPPING[kind](**HYBRIDS[kind])
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation="eager", experts_implementation=experts, dtype=torch.get_default_dtype()
        )
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.2)
    return model.to(dtype).eval()


def make_bank(kind: str, dtype: torch.dtype = torch.float64, **settings: Any) -> Bank:
    return Bank(make_hybrid(kind, dtype), make_tokenizer(), **{"slots": 2, **settings})


def of_all_lengths(seed: int) -> tuple[TokenText, ...]:
    """A text longer than a chunk between shorter ones, two of the least length, and several that begin alike."""
    stem = make_texts(1, seed=seed + 7, low=30, high=30)[0].ids
    least = TokenText.of((), (7 + seed, 9))
    long = make_texts(1, seed=seed, low=CHUNK + 6, high=CHUNK + 6)
    alike = tuple(TokenText.of(stem, text.ids, learn_prompt=False) for text in make_texts(2, seed=seed + 3))
    return (*make_texts(3, seed=seed), least, *long, least, *alike)


def lora_of(kind: str, rank: int) -> LoraSpec:
    return LoraSpec(rank, 8.0, TARGETS[kind])


def job(kind: str, key: str, seed: int, batch_size: int, **more: Any) -> Job:
    optim = OptimSpec(1e-2, 2, batch_size)
    return Job(key, of_all_lengths(seed), lora_of(kind, 2 + seed), optim, seed, keep_adapter=True, **more)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("kind", HYBRIDS)
def test_a_trial_is_the_trial_alone_with_peft(kind: str) -> None:
    held = {"anchor_examples": of_all_lengths(9), "kl_coef": 2.0}
    jobs = [job(kind, "few", 1, 3), job(kind, "all", 2, 64, **held)]
    results = {result.key: result for result in make_bank(kind).run(jobs)}
    for each in jobs:
        peft, losses = train_alone(make_hybrid(kind), each)
        assert results[each.key].losses == pytest.approx(losses, abs=1e-9)
        tensors = peft_tensors(peft)
        assert tensors.keys() == results[each.key].adapter.tensors.keys()
        for name, tensor in tensors.items():
            assert (torch.from_numpy(results[each.key].adapter.tensors[name]) - tensor).abs().max() < 1e-8, name


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("kind", HYBRIDS)
def test_a_text_scores_the_same_alone_after_another_and_between_two(kind: str) -> None:
    model, bank, (one, two, *_, long, least, _, _) = make_hybrid(kind), make_bank(kind), of_all_lengths(1)
    for text in (one, long, least):
        with torch.no_grad():
            alone_TV = model(input_ids=torch.tensor([text.ids])).logits[0].log_softmax(-1)
        expected = alone_TV[:-1].gather(1, torch.tensor(text.ids[1:])[:, None])[:, 0].tolist()
        for company in ((text,), (two, text), (two, text, long), (long, text, text), (text, two)):
            assert bank.log_probs(company)[company.index(text)] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("kind", HYBRIDS)
def test_in_other_precisions_rounding_alone_tells_a_text_in_company_from_one_alone(kind, dtype, bound) -> None:
    model, bank, texts = make_hybrid(kind, dtype), make_bank(kind, dtype), of_all_lengths(1)
    for text, scores in zip(texts, bank.log_probs(texts), strict=True):
        with torch.no_grad():
            alone_TV = model(input_ids=torch.tensor([text.ids])).logits[0].double().log_softmax(-1)
        learnt = np.flatnonzero(text.learn[1:])
        expected_L = alone_TV[learnt, torch.tensor(text.ids)[learnt + 1]]
        assert (torch.tensor(scores) - expected_L).abs().mean() < bound


def asked() -> tuple[tuple[int, ...], ...]:
    """Prompts of one token and of many, of which some begin alike and go on by one token or by several."""
    stem = make_texts(1, seed=3, low=CHUNK + 9, high=CHUNK + 9)[0].ids
    return ((5,), *make_prompts(4, seed=2), *(stem + end for end in make_prompts(3, seed=4)), (*stem, 6), (*stem, 7))


@pytest.mark.slow
@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("kind", HYBRIDS)
def test_batched_answers_are_those_of_generate_one_at_a_time(kind: str, tmp_path: Any) -> None:
    trained = Job("it", make_texts(4, seed=1), lora_of(kind, 2), OptimSpec(2e-2, 2, 2), 1, prompts=asked(),
                  max_new_tokens=9, keep_adapter=True)  # fmt: skip
    plain = Job("plain", None, prompts=asked(), max_new_tokens=9)
    bank = make_bank(kind)
    tokens = Tokens(bank)
    results = {result.key: result for result in bank.run([plain, trained])}
    results["it"].adapter.save(tmp_path)
    adapted = PeftModel.from_pretrained(make_hybrid(kind), tmp_path)
    for key, model in (("plain", make_hybrid(kind)), ("it", adapted)):
        assert results[key].answers == tuple(generate_alone(model, prompt, 9) for prompt in asked())
    assert tokens.count < 2 * sum(map(len, asked())), "what prompts begin with alike is read once"


@pytest.mark.slow
@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("kind", HYBRIDS)
def test_a_sampled_text_is_its_own_whichever_rows_end_before_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [SampleSpec(p, n, max_new_tokens=3 + 4 * n, temperature=1.0) for n, p in enumerate(asked())]
    bank, kept = make_bank(kind), []
    usual = KVCache.resize

    def noting(cache: KVCache, kept_R: torch.Tensor, rows: int, capacity: int) -> None:
        kept.append((len(kept_R), rows))
        usual(cache, kept_R, rows, capacity)

    monkeypatch.setattr(KVCache, "resize", noting)
    together = bank.sample(specs)
    assert any(0 < rows == left for left, rows in kept), "rows were dropped"
    assert together == [bank.sample([spec])[0] for spec in specs]
    assert together == in_places(bank, specs, 3), "each in a place where another text was before"
    monkeypatch.setattr(prefill, "WORTH", 10**9)
    assert together == bank.sample(specs[::-1])[::-1], "each prompt read by itself"


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("kind", ["qwen3_5_text", "lfm2", "granitemoehybrid"])
def test_a_text_too_long_for_a_pass_comes_out_as_in_one_it_fits_in(kind: str) -> None:
    (whole,), (split,) = (
        make_bank(kind, max_tokens_per_microbatch=most).run([job(kind, "it", 1, 4)]) for most in (1000, 40)
    )
    assert_same(split, whole)


@pytest.mark.slow
@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("kind", HYBRIDS)
def test_a_trial_gone_to_nan_breaks_none_beside_it(kind: str) -> None:
    good = job(kind, "good", 1, 4, prompts=asked(), max_new_tokens=4)
    bad = Job("bad", of_all_lengths(2), lora_of(kind, 2), OptimSpec(1e308, 3, 4), 2, prompts=asked(), max_new_tokens=4)
    together = {result.key: result for result in make_bank(kind).run([good, bad])}
    (by_itself,) = make_bank(kind).run([good])
    assert together["bad"].failure
    assert_same(together["good"], by_itself)


def test_states_count_towards_how_many_rows_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, sizes = make_bank("qwen3_5_text", torch.float32), []
    # Two layers keep four inputs of a convolution over 64 channels and four heads' 8 × 8; one keeps keys and values.
    states, token = 2 * 4 * (64 * 4 + 4 * 8 * 8), 4 * 2 * 2 * 8
    assert bank.row_tokens == states // max(token, 1024)
    usual = CachedAttention.__init__

    def noting(attention: CachedAttention, cache: KVCache, *rest: Any) -> None:
        sizes.append(cache.rows)
        usual(attention, cache, *rest)

    monkeypatch.setattr(CachedAttention, "__init__", noting)
    monkeypatch.setattr(writing, "CACHE_TOKENS", 40)
    bank.sample([SampleSpec((5, 6), n, max_new_tokens=6) for n in range(7)])
    assert max(sizes) == 40 // (2 + 6 + bank.row_tokens) < 40 // (2 + 6)
