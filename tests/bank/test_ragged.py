"""Rows of unlike lengths come to the same with the kernels that pad none as they do padded, and in less work."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.varlen import varlen_attn
from torch.utils.checkpoint import checkpoint

from benchmarks import standins
from benchmarks.op_counts import Counted
from seal_ray.bank import Bank, Job, layout, tried, varlen
from seal_ray.bank.attention import AttentionParams, PackedAttention
from seal_ray.bank.layout import Groups, pack
from seal_ray.bank.lora import BufferLayout, TargetModule
from seal_ray.bank.ragged import MOST_SLOTS, PADDED, WIDEST, Ragged
from seal_ray.bank.rows import Row
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, make_model, make_prompts, make_texts, make_tokenizer

CPU = torch.device("cpu")
STANDINS = Ragged(standins.grouped_mm, standins.varlen_attn)
COUNTS = {
    "slots of unlike sizes": (3, 40, 1, 12),
    "slots with no tokens": (0, 7, 0, 3, 0),
    "two slots": (1, 200),
    "slots of one size": (6, 6, 6),
    "one slot": (9,),
}
PRODUCTS = {
    "float64, a stand-in": (torch.float64, standins.grouped_mm, 1e-12),
    "float32": (torch.float32, F.grouped_mm, 1e-5),
    "bfloat16": (torch.bfloat16, F.grouped_mm, 0.05),
}


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_products_as_rows_lie_are_those_of_padded_ones(
    counts: str, product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "PADDING", 1 << 40)  # as on a GPU
    dtype, kernel, near = PRODUCTS[product]
    ours, theirs = (Groups(np.array(COUNTS[counts]), CPU, ragged) for ragged in (Ragged(kernel), PADDED))
    adapter = BufferLayout(8, (TargetModule("one", 16, 24), TargetModule("other", 32, 16)))
    draw = torch.Generator().manual_seed(0)
    flat_SP = torch.randn(ours.slots, adapter.size, generator=draw).to(dtype)
    x_NI, dy_NO, z_NR = (torch.randn(ours.tokens, width, generator=draw).to(dtype) for width in (32, 16, 8))
    a_GRI, b_GOR = adapter.views(flat_SP)["other"]
    found = []
    for groups in (ours, theirs):
        y_NO, grads = dy_NO.clone(), adapter.views(torch.ones_like(flat_SP, dtype=torch.float64))["other"]
        groups.add_times(y_NO, z_NR, b_GOR.transpose(1, 2))
        groups.add_outer(grads[1], dy_NO, z_NR)
        groups.add_outer(grads[0], z_NR, x_NI)
        found.append([groups.times(x_NI, a_GRI.transpose(1, 2)), groups.times(dy_NO, b_GOR), y_NO, *grads])
    for unpadded, padded in zip(*found, strict=True):
        assert unpadded.isfinite().all()
        torch.testing.assert_close(unpadded, padded, rtol=near, atol=near)


ROWS = {
    "unlike rows": [(0, 3), (0, 40), (0, 9), (1, 70), (3, 1), (3, 5)],
    "short rows": [(0, 3), (0, 9), (1, 20), (2, 1)],
    "rows of one length": [(0, 12), (1, 12)],
    "one row": [(0, 45)],
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("kernel", [standins.varlen_attn, standins.varlen_attn_of_2_11])
@pytest.mark.parametrize(
    ("key_heads", "window", "scale"), [(4, None, None), (2, 6, None), (1, None, 0.3), (2, 64, 0.2)]
)
def test_attention_as_rows_lie_is_that_of_padded_ones(rows, kernel, key_heads, window, scale, monkeypatch) -> None:
    monkeypatch.setattr(layout, "LEAST", 1 << 40)  # none is attended to by itself
    packed = [Row(slot, np.zeros(length, np.int64), np.zeros(0, np.int64)) for slot, length in ROWS[rows]]
    draw = torch.Generator().manual_seed(0)
    tokens, params = sum(length for _, length in ROWS[rows]), AttentionParams(scale, window)
    given = [
        torch.randn(tokens, heads, 8, dtype=torch.float64, generator=draw, requires_grad=True)
        for heads in (4, key_heads, key_heads)
    ]
    upstream = torch.randn(tokens, 4, 8, dtype=torch.float64, generator=draw)
    found = []
    for ragged in (Ragged(None, kernel), PADDED):
        out = PackedAttention(pack(packed, CPU, torch.float64, ragged=ragged)).attend(0, *given, params)
        found.append([out, *torch.autograd.grad(out, given, upstream)])
    for unpadded, padded in zip(*found, strict=True):
        torch.testing.assert_close(unpadded, padded, rtol=0, atol=1e-12)


def make_jobs() -> list[Job]:
    """Of ranks that fit and one that does not, one with anchors, so that others have no tokens in some passes."""
    shapes = [(8, ALL), (16, ("q_proj", "lm_head")), (3, ("v_proj", "up_proj")), (8, ALL)]
    jobs = [
        Job(
            f"{number}",
            make_texts(3 + number, seed=number, high=10 + 9 * number),
            LoraSpec(rank, 2.0 * rank, targets),
            OptimSpec(1e-2, 2, 2),
            seed=number,
            prompts=make_prompts(2, number),
            max_new_tokens=3,
            keep_adapter=True,
        )
        for number, (rank, targets) in enumerate(shapes)
    ]
    return [*jobs[:-1], replace(jobs[-1], anchor_examples=make_texts(3, seed=30), kl_coef=1.0)]


def results(ragged: Ragged, dtype: torch.dtype, jobs: list[Job], family: str = "llama") -> list:
    bank = Bank(make_model(family, dtype), make_tokenizer(), slots=4)
    bank.patched.ragged = ragged
    return sorted(bank.run(jobs), key=lambda result: result.key)


@pytest.mark.parametrize(
    ("family", "attends"), [("llama", True), ("mistral", True), ("gemma2", False)], ids=lambda value: str(value)
)
def test_trials_through_stand_ins_are_those_of_a_bank_that_pads(family: str, attends: bool) -> None:
    jobs, called = make_jobs(), Counter[str]()

    def grouped_mm(*given, **named):
        called["product"] += 1
        return standins.grouped_mm(*given, **named)

    def attn(*given, scale, window_size, enable_gqa=False):
        called["attention"] += 1
        return standins.varlen_attn(*given, scale=scale, window_size=window_size, enable_gqa=enable_gqa)

    found = results(Ragged(grouped_mm, attn), torch.float64, jobs, family)
    assert called["product"] > 100
    assert (called["attention"] > 20) == attends, "with a soft cap rows are padded"
    for ours, theirs in zip(found, results(PADDED, torch.float64, jobs, family), strict=True):
        assert ours.failure is None
        assert ours.losses == pytest.approx(theirs.losses, abs=1e-9)
        assert ours.answers == theirs.answers
        for name, tensor in theirs.adapter.tensors.items():
            np.testing.assert_allclose(ours.adapter.tensors[name], tensor, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_trials_through_the_real_product_are_those_of_a_bank_that_pads(dtype: torch.dtype, near: float) -> None:
    jobs = make_jobs()
    for ours, theirs in zip(*(results(ragged, dtype, jobs) for ragged in (Ragged(F.grouped_mm), PADDED)), strict=True):
        assert ours.losses == pytest.approx(theirs.losses, abs=near)


def test_texts_that_share_their_beginning_are_attended_to_as_ever() -> None:
    stem = np.arange(30)
    rows = [Row(0, np.concatenate([stem, np.full(end, end)]), np.array([30])) for end in (3, 9)]
    assert pack(rows, CPU, torch.float64, share=True, ragged=STANDINS).whole is None
    apart = pack(rows, CPU, torch.float64, share=False, ragged=STANDINS).whole
    assert (apart.starts.tolist(), apart.longest) == ([0, 33, 72], 39)


def test_a_slot_gone_to_nan_reaches_no_other() -> None:
    diverging = replace(make_jobs()[0], key="9", optim=OptimSpec(1e30, 3, 2, "constant"))
    jobs = make_jobs()[1:]
    beside = results(Ragged(F.grouped_mm, standins.varlen_attn), torch.float32, [*jobs, diverging])
    assert beside[-1].failure
    for ours, theirs in zip(beside, results(PADDED, torch.float32, jobs), strict=False):
        assert ours.losses == pytest.approx(theirs.losses, abs=1e-4)


DEVICES = {
    "Hopper": ((9, 0), torch.bfloat16, True, True),
    "Blackwell": ((10, 0), torch.bfloat16, True, True),
    "Ampere": ((8, 0), torch.bfloat16, False, True),
    "Turing": ((7, 5), torch.float16, False, False),
    "Hopper in float16": ((9, 0), torch.float16, False, True),
    "Hopper in float32": ((9, 0), torch.float32, False, False),
}


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_has_the_kernels_that_are_made_for_it(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    capability, dtype, multiplies, attends = DEVICES[device]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    found = Ragged.on(torch.device("cuda"), dtype)
    assert (found.grouped_mm, found.varlen_attn) == (
        F.grouped_mm if multiplies else None,
        varlen_attn if attends else None,
    )
    assert Ragged.on(CPU, dtype) is PADDED


def test_a_version_of_the_kernel_without_a_scale_is_left_alone() -> None:
    def first(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None):
        raise AssertionError

    assert not varlen.fits(first)
    assert all(map(varlen.fits, (varlen_attn, standins.varlen_attn, standins.varlen_attn_of_2_11)))


def test_matrices_that_do_not_lie_as_the_kernel_reads_them_are_padded() -> None:
    ends = torch.tensor([2, 9], dtype=torch.int32)
    ragged, x, w = Ragged(F.grouped_mm), torch.zeros(9, 16).bfloat16(), torch.zeros(2, 16, 8).bfloat16()
    assert ragged.product(x, w, ends) is not None
    assert ragged.product(x, w.transpose(1, 2).contiguous().transpose(1, 2), ends) is not None
    assert ragged.product(x, w[..., :4], ends) is None, "a rank of 4"
    assert ragged.product(x, torch.zeros(2, 4, 16).bfloat16().transpose(1, 2), ends) is None, "a rank of 4, turned"
    assert ragged.product(x.T[:12], x, ends) is None, "a width of 12"
    assert ragged.product(torch.zeros(9 * 16 + 1).bfloat16()[1:].view(9, 16), w, ends) is None, "between two addresses"
    assert ragged.product(x, w[:1].expand(MOST_SLOTS + 1, 16, 8), ends[1:].expand(MOST_SLOTS + 1)) is None, "slots"
    assert PADDED.product(x, w, ends) is None


def test_heads_that_the_kernel_does_not_take_are_padded() -> None:
    rows = varlen.Rows(torch.tensor([0, 2, 9], dtype=torch.int32), 7)

    def taken(width: int, value_width: int | None = None, x: torch.Tensor | None = None) -> bool:
        q = torch.zeros(9, 2, width).bfloat16() if x is None else x
        return STANDINS.attention(q, q, q[..., :value_width], rows, None, None) is not None

    assert taken(16)
    assert not taken(12), "a width of 12"
    assert not taken(WIDEST + 8)
    assert not taken(16, 8), "values of another width"
    assert not taken(16, None, torch.zeros(9, 16, 2).bfloat16().transpose(1, 2)), "numbers of a head apart"


@pytest.mark.parametrize("odd", [{"softcap": 5.0}, {"sinks_H": torch.zeros(2)}], ids=["soft cap", "sinks"])
def test_attention_of_another_kind_is_padded(odd: dict[str, Any]) -> None:
    def never(*given, scale, window_size):
        raise AssertionError

    params = AttentionParams(None, None, **odd)
    rows = [Row(0, np.zeros(length, np.int64), np.zeros(0, np.int64)) for length in (3, 8)]
    x = torch.randn(11, 2, 8, generator=torch.Generator().manual_seed(0))
    found, wanted = (
        PackedAttention(pack(rows, CPU, torch.float32, ragged=ragged)).attend(0, x, x, x, params)
        for ragged in (Ragged(None, never), PADDED)
    )
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_a_kernel_may_be_tried_within_a_layer_that_is_worked_out_a_second_time() -> None:
    rows, params = (
        [Row(0, np.zeros(length, np.int64), np.zeros(0, np.int64)) for length in (9, 20)],
        AttentionParams(None, 5),
    )
    packed = pack(rows, CPU, torch.float64, ragged=Ragged(None, partial(standins.varlen_attn)))
    found = []
    for layout_ in (packed, pack(rows, CPU, torch.float64)):
        x = torch.randn(29, 2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        out = checkpoint(PackedAttention(layout_).attend, 0, x, x, x, params, use_reentrant=False)
        found.append(torch.autograd.grad(out.square().sum(), x)[0])
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


def out_of_memory(*given, **named):
    if len(given[0]) != sum(tried.COUNTS) and given[0].shape[-1] != sum(tried.COUNTS):
        raise torch.OutOfMemoryError("no room")
    return standins.grouped_mm(*given, **named)


def test_a_kernel_that_runs_out_of_memory_is_no_kernel_that_fails() -> None:
    x, w, ends = torch.zeros(4, 16), torch.zeros(2, 16, 8), torch.tensor([1, 4], dtype=torch.int32)
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            Ragged(out_of_memory).product(x, w, ends)


def raising(*given, **named):
    raise RuntimeError("no kernel image is available\nfor this device")


def half_as_much_again(*given, **named):
    return (standins.varlen_attn if len(given) > 2 else standins.grouped_mm)(*given, **named) * 1.5


def leaking(*given, **named):
    """Each token's numbers come to those of all others times nothing, which is nothing as long as they are numbers."""
    if len(given) > 2:
        return standins.varlen_attn(*given, **named) + 0 * given[2].sum()
    return standins.grouped_mm(*given, **named) + 0 * given[1].sum()


def failing_later(*given, **named):
    """On anything but what kernels are tried on."""
    if len(given[0]) != sum(tried.COUNTS) and given[0].shape[-1] != sum(tried.COUNTS):
        raise RuntimeError("no kernel for such numbers")
    return (standins.varlen_attn if len(given) > 2 else standins.grouped_mm)(*given, **named)


FAULTS = {
    "fails when it is used": (
        Ragged(partial(failing_later), partial(failing_later)),
        "RuntimeError: no kernel for such numbers",
    ),
    "raises": (Ragged(raising, raising), "RuntimeError: no kernel image is available"),
    "comes to something else": (Ragged(half_as_much_again, half_as_much_again), "what it comes to is wrong"),
    "lets a text gone to nan through": (Ragged(leaking, leaking), "what it comes to is wrong"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_kernel_that_fails_or_is_wrong_is_left_alone_and_that_is_said_once(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    ragged, said = FAULTS[fault]
    jobs = make_jobs()[::3]  # of one shape, so that they are multiplied together
    with caplog.at_level(logging.WARNING):
        found = results(ragged, torch.float64, jobs)
    for ours, theirs in zip(found, results(PADDED, torch.float64, jobs), strict=True):
        assert ours.losses == theirs.losses
    lines = [record.message for record in caplog.records if record.name == "seal_ray.bank.tried"]
    assert len(lines) == 2
    assert all(line.endswith(f"in torch.float64, where rows are padded instead: {said}") for line in lines)


def without_a_backward_half(*given, **named):
    def fail(grad: torch.Tensor) -> None:
        raise RuntimeError("no kernel for gradients")

    return with_gradients(fail, *given, **named)


def with_half_of_each_gradient(*given, **named):
    return with_gradients(lambda grad: grad / 2, *given, **named)


def with_gradients(change, *given, **named):
    out = standins.varlen_attn(*given, **named)
    if out.requires_grad:
        out.register_hook(change)
    return out


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (without_a_backward_half, "RuntimeError: no kernel for gradients"),
        (with_half_of_each_gradient, "what it comes to is wrong"),
    ],
)
def test_a_kernel_that_is_wrong_in_its_backward_half_alone_is_left_alone_and_that_is_said_once(
    kernel: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = make_jobs()[:2]
    with caplog.at_level(logging.WARNING):
        found = results(Ragged(None, kernel), torch.float64, jobs)
    for ours, theirs in zip(found, results(PADDED, torch.float64, jobs), strict=True):
        assert ours.losses == theirs.losses
    (line,) = [record.message for record in caplog.records if record.name == "seal_ray.bank.tried"]
    assert line.endswith(f"in torch.float64, where rows are padded instead: {said}")


VIEWS = ("view", "transpose", "permute", "unsqueeze")
"""What starts nothing on a device."""


def work(counted: Counted) -> tuple[int, int]:
    """Operations of products, and how much is started."""
    return counted.flops, sum(times for name, times in counted.calls.items() if name not in VIEWS)


def test_nothing_is_multiplied_but_tokens_and_less_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "PADDING", 1 << 40)  # as on a GPU
    counts, wide, rank = np.array([3, 40, 0, 12]), 32, 8
    x, z, w = (torch.zeros(shape) for shape in ((55, wide), (55, rank), (4, wide, rank)))
    found = []
    for groups in (Groups(counts, CPU, Ragged(F.grouped_mm)), Groups(counts, CPU)):
        for _ in range(2):  # indices are made, and the kernel is tried, in the first
            with Counted() as counted:
                groups.times(x, w)
                groups.add_times(x, z, w.transpose(1, 2))
                groups.add_outer(w, x, z)
        found.append(work(counted))
    three = 3 * 2 * wide * rank
    assert found == [(three * 55, 6), (three * 4 * 40, 13)]


def test_no_padding_is_attended_to_and_one_kernel_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "LEAST", 1 << 40)  # as on a GPU, in buckets
    lengths, x = (3, 40, 9, 70, 100), torch.zeros(222, 4, 16)
    rows = [Row(0, np.zeros(length, np.int64), np.zeros(0, np.int64)) for length in lengths]
    given = []

    def kernel(query, key, value, cu_seq_q, *bounds, scale, window_size):
        with torch.utils._python_dispatch._disable_current_modes():
            given.append(len(query))
            out = standins.varlen_attn(query, key, value, cu_seq_q, *bounds, scale=scale, window_size=window_size)
        return out.clone()

    found = []
    for ragged in (Ragged(None, kernel), PADDED):
        packed = pack(rows, CPU, torch.float32, ragged=ragged)
        for _ in range(2):  # the kernel is tried in the first
            with Counted() as counted:
                PackedAttention(packed).attend(0, x, x, x, AttentionParams(None, None))
        found.append(work(counted)[1])
    assert given[-1] == 222 < sum(bucket.count * bucket.length for bucket in packed.buckets)
    assert found == [1, 14]
