"""What trained texts begin with alike is worked out once, and what is learnt is what each text alone teaches."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from seal_ray.bank import Bank, Job, TokenText, layout, sharing
from seal_ray.bank.attention import AttentionParams, PackedAttention
from seal_ray.bank.layout import pack
from seal_ray.bank.objectives import DPO
from seal_ray.bank.rows import Row
from seal_ray.bank.sharing import LINE, WORTH, Family, families
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, CONFIGS, make_model, make_texts, make_tokenizer, peft_tensors, train_alone
from tests.bank.test_cpu_attention import alone, split
from tests.bank.test_prefill import Tokens

STEM = tuple(range(5, 45))
COUNT = 6


def after_a_stem(seed: int, count: int = 6) -> tuple[TokenText, ...]:
    """Texts of which the first forty tokens are alike and carry no loss, and two others."""
    begun = (
        TokenText(STEM + text.ids, (False,) * len(STEM) + text.learn)
        for text in make_texts(count, seed=seed, prompts=True)
    )
    return (*begun, *make_texts(2, seed=seed + 50))


def exact(family: str = "llama") -> Any:
    """A model whose norms do not go through float32, where it shows in which order gradients are added."""
    model = make_model(family)
    for norm in model.modules():
        if type(norm).__name__.endswith("RMSNorm"):
            gain = 1 + norm.weight if "gemma" in family else norm.weight
            eps = getattr(norm, "variance_epsilon", None) or norm.eps
            norm.forward = partial(
                torch.nn.functional.rms_norm, normalized_shape=gain.shape, weight=gain.detach(), eps=eps
            )
    return model


def job(key: str, seed: int, batch_size: int, **more: object) -> Job:
    optim = OptimSpec(1e-2, 3, batch_size)
    return replace(Job(key, after_a_stem(seed), LoraSpec(4, 8.0, ALL), optim, seed, keep_adapter=True), **more)


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("family", [family for family in CONFIGS if family != "gemma2"])  # alone, padded, it is NaN
@pytest.mark.slow
def test_texts_that_begin_alike_teach_what_they_teach_alone_with_peft(family, one_by_one, monkeypatch):
    if one_by_one:  # as larger models are multiplied and attended
        monkeypatch.setattr(layout, "PADDING", 0)
        monkeypatch.setattr(layout, "LEAST", 0)
    anchored = {"anchor_examples": after_a_stem(90), "kl_coef": 2.0}
    jobs = [job("few", 1, 4), job("all", 2, 64), job("held", 3, 5, **anchored)]
    bank = Bank(exact(family), make_tokenizer(), slots=3)
    tokens = Tokens(bank)
    results = {result.key: result for result in bank.run(jobs)}
    for each in jobs:
        peft, losses = train_alone(exact(family), each)
        result = results[each.key]
        assert result.losses == pytest.approx(losses, abs=1e-9)
        for name, tensor in peft_tensors(peft).items():
            assert (torch.from_numpy(result.adapter.tensors[name]) - tensor).abs().max() < 1e-8, name
    trained = sum(results[each.key].tokens for each in jobs[:2])
    assert trained == sum(len(text.ids) for each in jobs[:2] for text in each.texts or ()) * 3, "no text counts less"
    assert tokens.count < 0.6 * (trained + 2 * results["held"].tokens)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
@pytest.mark.parametrize("objective", [None, DPO()])
def test_it_is_the_same_whether_beginnings_are_worked_out_once_or_for_each(objective, family, monkeypatch):
    found = []
    for worth in (sharing.WORTH, 10**9):
        monkeypatch.setattr(sharing, "WORTH", worth)
        bank = Bank(exact(family), make_tokenizer(), slots=2)
        tokens = Tokens(bank)
        results = list(bank.run(job(f"{n}", n, 4, objective=objective) for n in (1, 2)))
        found.append((results, tokens.count))
    (shared, fewer), (apart, more) = found
    assert fewer < more
    for ours, theirs in zip(shared, apart, strict=True):
        assert ours.losses == pytest.approx(theirs.losses, abs=1e-10)
        for name, tensor in theirs.adapter.tensors.items():
            np.testing.assert_allclose(ours.adapter.tensors[name], tensor, atol=1e-10, rtol=0)


def test_a_text_gone_to_nan_breaks_none_beside_it():
    good, bad = job("good", 1, 4), job("bad", 2, 4, optim=OptimSpec(1e308, 3, 4))
    together = {result.key: result for result in Bank(exact(), make_tokenizer(), slots=2).run([good, bad])}
    (by_itself,) = Bank(exact(), make_tokenizer(), slots=2).run([good])
    assert together["bad"].failure
    assert together["good"].losses == pytest.approx(by_itself.losses, abs=1e-10)


@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("least", [0, layout.LEAST])
@pytest.mark.parametrize("ends", [(3, 9, 1, 30), (200, 90)])
def test_attention_to_a_shared_beginning_is_each_text_alone(key_heads, window, least, ends, monkeypatch):
    monkeypatch.setattr(layout, "LEAST", least)
    stem, short = 40 if len(ends) > 2 else 300, np.arange(7)
    texts = [np.concatenate([np.arange(stem), 1000 * number + np.arange(end)]) for number, end in enumerate(ends, 1)]
    rows = [Row(0, short, np.array([0])), *(Row(0, text, np.array([stem])) for text in texts), Row(1, short, short[:0])]
    packed = pack(rows, torch.device("cpu"), torch.float64, share=True)
    ids = np.concatenate([row.ids for row in rows])
    assert packed.tokens.tokens == len(ids) - stem * (len(ends) - 1)
    draw = torch.Generator().manual_seed(0)
    drawn = [
        torch.randn(int(ids.max()) + 1, heads, 8, dtype=torch.float64, generator=draw)
        for heads in (4, *[key_heads] * 2)
    ]
    whole = [x[ids].requires_grad_() for x in drawn]  # a token is the same wherever it stands
    ours = [x[packed.input_ids[0]].requires_grad_() for x in drawn]
    there = torch.cat([alone(*parts, window) for parts in zip(*(split(x, rows) for x in whole), strict=True)])
    here = PackedAttention(packed).attend(0, *ours, AttentionParams(None, window, None))
    heads = np.cumsum([0, *(len(row.ids) for row in rows)])[:-1] + [
        row.labels[0] if len(row.labels) else 0 for row in rows
    ]
    wanted = [number for number, row in enumerate(rows) if len(row.labels)]
    torch.testing.assert_close(here[packed.head_index], there[heads[wanted]], rtol=0, atol=1e-12)
    upstream = torch.randn(int(ids.max()) + 1, 4, 8, dtype=torch.float64, generator=draw)
    found = torch.autograd.grad(here, ours, own(upstream, packed.input_ids[0].numpy(), stem))
    expected = torch.autograd.grad(there, whole, own(upstream, ids, stem))
    for ours_grad, theirs_grad in zip(found, expected, strict=True):
        by_token = [torch.zeros_like(upstream[:, : grad.shape[1]]) for grad in (ours_grad, theirs_grad)]
        by_token[0].index_add_(0, packed.input_ids[0], ours_grad)
        by_token[1].index_add_(0, torch.from_numpy(ids), theirs_grad)
        torch.testing.assert_close(*by_token, rtol=0, atol=1e-12)


def own(upstream: torch.Tensor, ids: np.ndarray, stem: int) -> torch.Tensor:
    """A gradient that does not reach what is shared, whose predictions nobody asks for."""
    return upstream[ids] * torch.from_numpy(ids >= 1000)[:, None, None]


def test_what_is_learnt_is_never_shared():
    ids = np.arange(100)
    rows = [Row(0, np.append(ids, end), np.arange(30, 100)) for end in range(2)]
    assert sharing.Pieces.shared(rows).begins_P.tolist() == [0, 30, 30]


def test_a_line_of_texts_that_begin_alike_stays_short():
    draw = np.random.default_rng(1)

    def found(stem: int, *ends: int) -> list[Family]:
        rows = [
            Row(0, np.concatenate([np.arange(stem), draw.integers(10**6, size=end)]), np.array([stem])) for end in ends
        ]
        return families(rows, [stem] * len(rows), WORTH, LINE)

    assert found(WORTH - 1, 5, 5) == [Family(range(1), 0), Family(range(1, 2), 0)]
    half = (LINE - 20) // 2
    assert found(20, half, half, half) == [Family(range(2), 20), Family(range(2, 3), 0)]
    assert found(4 * LINE, 9, 9, 9) == [Family(range(3), 4 * LINE)]
