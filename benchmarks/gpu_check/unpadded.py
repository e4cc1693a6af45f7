"""Rows of unlike lengths as they lie and padded: whether both come to the same on this device, and how long each takes.

Letters: N packed tokens, G slots, I in, O out, R rank, H heads, K key-value heads, D head width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import machine, standins
from benchmarks.baselines import PADDED as PADDED_TO
from benchmarks.gpu_check.scale import Scale
from benchmarks.models import SHAPES
from benchmarks.workload import LORA, drawn
from seal_ray.bank.attention import AttentionParams, PackedAttention
from seal_ray.bank.layout import Groups, pack
from seal_ray.bank.ragged import PADDED, Ragged
from seal_ray.bank.rows import Row
from seal_ray.bank.varlen import Kernel

ALLOWED = 4 * torch.finfo(torch.bfloat16).eps
"""How far they may be apart, as a share of the largest number: what is rounded to bfloat16 in other places."""


@dataclass(frozen=True)
class Sizes:
    """A text for each slot, and a layer that they go through."""

    lengths: Sequence[int]
    width_in: int
    width_out: int
    rank: int
    heads: int
    key_heads: int
    head_width: int

    @classmethod
    def of(cls, scale: Scale) -> Sizes:
        """As long as the texts of a round, in as many slots as the largest bank has, through the queries of a layer."""
        shape = SHAPES[scale.shape]
        lengths = [min(length, PADDED_TO) for length in drawn().sample(max(scale.slots))]
        return cls(lengths, *shape.linears["q_proj"], LORA.rank, shape.heads, shape.kv_heads, shape.head_width)


Case = Callable[[Ragged], list[Tensor]]


def kernels(device: torch.device, dtype: torch.dtype) -> Ragged:
    """Those of the device; on a processor, which has none, its own products and a stand-in, to rehearse with."""
    return Ragged(F.grouped_mm, standins.varlen_attn) if device.type == "cpu" else Ragged.on(device, dtype)


def compared(scale: Scale, device: str) -> dict[str, Any]:
    """How far each kernel is from padding, in bfloat16."""
    rows, place = [], torch.device(device)
    for name, case in cases(Sizes.of(scale), place, torch.bfloat16).items():
        ragged, called = _watched(kernels(place, torch.bfloat16))
        case(ragged)
        called.clear()  # those by which it was tried
        ours, theirs = case(ragged), case(PADDED)
        apart = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))
        right = apart <= ALLOWED if called else None
        rows.append({"what": name, "used": bool(called), "apart": apart, "allowed": ALLOWED, "right": right})
    return {"unpadded": rows, "right": all(row["right"] is not False for row in rows)}


def timed(scale: Scale, device: str) -> dict[str, Any]:
    """Seconds of each way, in turn."""
    rows, place, dtype, sizes = [], torch.device(device), getattr(torch, scale.dtype), Sizes.of(scale)
    for name, case in cases(sizes, place, dtype).items():
        ragged, called = _watched(kernels(place, dtype))
        for way in (ragged, PADDED):
            case(way)
        called.clear()  # those by which it was tried
        both = [[_seconds(case, way, place, scale.repeats) for way in (ragged, PADDED)] for _ in range(scale.pairs)]
        seconds, padded = (median(way) for way in zip(*both, strict=True))
        rows.append({"what": name, "used": bool(called), "seconds": seconds, "padded_seconds": padded})
    size = f"{len(sizes.lengths)} texts of {sum(sizes.lengths):,} tokens, the longest of {max(sizes.lengths):,}"
    return {"unpadded": rows, "size": size}


def cases(sizes: Sizes, device: torch.device, dtype: torch.dtype) -> dict[str, Case]:
    """What is multiplied and attended to without padding."""
    draw = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw).to(device, dtype)

    @cache
    def groups_of(ragged: Ragged) -> Groups:
        return Groups(counts, device, ragged)

    @cache
    def attention_of(ragged: Ragged) -> PackedAttention:
        return PackedAttention(pack(rows, device, dtype, ragged=ragged))

    counts, tokens = np.array(sizes.lengths), sum(sizes.lengths)
    x_NI, dy_NO, z_NR = (random(tokens, width) for width in (sizes.width_in, sizes.width_out, sizes.rank))
    a_GRI, b_GOR = (
        random(len(counts), *shape) for shape in ((sizes.rank, sizes.width_in), (sizes.width_out, sizes.rank))
    )
    rows = [Row(slot, np.zeros(length, np.int64), np.zeros(0, np.int64)) for slot, length in enumerate(sizes.lengths)]
    given = [
        random(tokens, count, sizes.head_width).requires_grad_()
        for count in (sizes.heads, sizes.key_heads, sizes.key_heads)
    ]
    upstream_NHD, params = random(tokens, sizes.heads, sizes.head_width), AttentionParams(None, None)

    def products(ragged: Ragged) -> list[Tensor]:
        groups, y_NO = groups_of(ragged), torch.zeros_like(dy_NO)
        groups.add_times(y_NO, groups.times(x_NI, a_GRI.transpose(1, 2)), b_GOR.transpose(1, 2))
        return [y_NO]

    def gradients(ragged: Ragged) -> list[Tensor]:
        groups = groups_of(ragged)
        grad_a, grad_b = torch.zeros_like(a_GRI, dtype=torch.float32), torch.zeros_like(b_GOR, dtype=torch.float32)
        groups.add_outer(grad_b, dy_NO, z_NR)
        groups.add_outer(grad_a, z_NR, x_NI)
        return [grad_a, grad_b]

    def attention(ragged: Ragged) -> list[Tensor]:
        out_NHD = attention_of(ragged).attend(0, given[0], given[1], given[2], params)
        return [out_NHD.detach(), *torch.autograd.grad(out_NHD, given, upstream_NHD)]

    return {"products": products, "their gradients": gradients, "attention, forward and back": attention}


def _watched(ragged: Ragged) -> tuple[Ragged, list[str]]:
    """The same kernels, and a list of the calls that they get."""
    called = list[str]()

    def watched(kernel: Kernel | None) -> Kernel | None:
        if kernel is None:
            return None

        @wraps(kernel)
        def call(*given: Any, **named: Any) -> Tensor:
            called.append(kernel.__name__)
            return kernel(*given, **named)

        return call

    return Ragged(watched(ragged.grouped_mm), watched(ragged.varlen_attn)), called


def _seconds(case: Case, way: Ragged, device: torch.device, times: int) -> float:
    machine.sync(device)
    started = time.perf_counter()
    for _ in range(times):
        case(way)
    machine.sync(device)
    return (time.perf_counter() - started) / times
