"""Attention of short rows on a CPU, written out as products: the fused kernel takes two to three times as long.

Letters: N packed tokens, C lines, T places of a line, H heads, K key-value heads, G query heads per key head,
Q = G · T, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from seal_ray.bank.bucket import Bucket
from seal_ray.bank.layout import Lines


class TiledAttention(torch.autograd.Function):
    """Many short rows, several to a line, all lines in one product.

    Padding sees only padding, so what it holds, and its gradient, never reach a real token.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q_NHD: Tensor,
        k_NKD: Tensor,
        v_NKD: Tensor,
        bucket: Bucket,
        place: Tensor,
        window: int | None,
        scale: float,
    ) -> Tensor:
        heads = q_NHD.shape[1]
        q_BQD, k_BTD, v_BTD = (_lines_by_head(x, bucket, k_NKD.shape[1]) for x in (q_NHD, k_NKD, v_NKD))
        p_BQT = torch.bmm(q_BQD, k_BTD.transpose(1, 2))
        shaped = p_BQT.view(bucket.count, heads, bucket.length, bucket.length)
        torch.add(bucket.bias(window, q_NHD.dtype), shaped, alpha=scale, out=shaped)
        p_BQT = p_BQT.softmax(-1)
        ctx.save_for_backward(q_BQD, k_BTD, v_BTD, p_BQT)
        ctx.bucket, ctx.place, ctx.scale, ctx.heads = bucket, place, scale, (heads, k_NKD.shape[1])
        return _tokens_by_head(torch.bmm(p_BQT, v_BTD), bucket, place, heads)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q_BQD, k_BTD, v_BTD, p_BQT = ctx.saved_tensors
        heads, key_heads = ctx.heads
        do_BQD = _lines_by_head(grads[0], ctx.bucket, key_heads)
        dv_BTD = torch.bmm(p_BQT.transpose(1, 2), do_BQD)
        dp_BQT = torch.bmm(do_BQD, v_BTD.transpose(1, 2))
        ds_BQT = torch._softmax_backward_data(dp_BQT, p_BQT, -1, p_BQT.dtype)
        dq_BQD = torch.bmm(ds_BQT, k_BTD).mul_(ctx.scale)
        dk_BTD = torch.bmm(ds_BQT.transpose(1, 2), q_BQD).mul_(ctx.scale)
        counts = ((dq_BQD, heads), (dk_BTD, key_heads), (dv_BTD, key_heads))
        return *(_tokens_by_head(x, ctx.bucket, ctx.place, count) for x, count in counts), None, None, None, None


def _lines_by_head(x_NHD: Tensor, bucket: Bucket, key_heads: int) -> Tensor:
    """`[C · K, G · T, D]`."""
    heads, width = x_NHD.shape[1:]
    lines = x_NHD.reshape(-1, width).index_select(0, bucket.head_index(heads))
    return lines.view(bucket.count * key_heads, -1, width)


def _tokens_by_head(x_BQD: Tensor, bucket: Bucket, place: Tensor, heads: int) -> Tensor:
    """Back to `[N, H, D]`."""
    width = x_BQD.shape[-1]
    return x_BQD.reshape(-1, width).index_select(0, bucket.head_place(place, heads)).view(-1, heads, width)


class LineAttention(torch.autograd.Function):
    """Lines of unlike lengths, one after another where they lie: nothing is padded or gathered."""

    @staticmethod
    def forward(
        ctx: Any, q_NHD: Tensor, k_NKD: Tensor, v_NKD: Tensor, lines: Lines, window: int | None, scale: float
    ) -> Tensor:
        groups = q_NHD.shape[1] // k_NKD.shape[1]
        out_NHD, kept = torch.empty_like(q_NHD, memory_format=torch.contiguous_format), []
        for number, (q_KQD, k_KTD, v_KTD) in enumerate(_each(lines, k_NKD.shape[1], q_NHD, k_NKD, v_NKD)):
            bias_QT = lines.bias(number, window, groups, q_NHD.dtype)
            p_KQT = torch.baddbmm(bias_QT, q_KQD, k_KTD.transpose(1, 2), alpha=scale).softmax(-1)
            _put(out_NHD, lines.spans[number], groups, p_KQT, v_KTD, 1.0)
            kept.append(p_KQT)
        ctx.save_for_backward(q_NHD, k_NKD, v_NKD, *kept)
        ctx.lines, ctx.groups, ctx.scale = lines, groups, scale
        return out_NHD

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q_NHD, k_NKD, v_NKD, *kept = ctx.saved_tensors
        groups, scale = ctx.groups, ctx.scale
        out = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q_NHD, k_NKD, v_NKD)]
        for span, p_KQT, (do_KQD, q_KQD, k_KTD, v_KTD) in zip(
            ctx.lines.spans, kept, _each(ctx.lines, k_NKD.shape[1], grads[0], q_NHD, k_NKD, v_NKD), strict=True
        ):
            _put(out[2], span, 1, p_KQT.transpose(1, 2), do_KQD, 1.0)
            dp_KQT = torch.bmm(do_KQD, v_KTD.transpose(1, 2))
            ds_KQT = torch._softmax_backward_data(dp_KQT, p_KQT, -1, p_KQT.dtype)
            _put(out[0], span, groups, ds_KQT, k_KTD, scale)
            _put(out[1], span, 1, ds_KQT.transpose(1, 2), q_KQD, scale)
        return *out, None, None, None


def _each(lines: Lines, key_heads: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Each line's part of every tensor, as `[K, T, D]`, or `[K, Q, D]` where it has the queries' heads."""
    for span in lines.spans:
        yield tuple(_by_head(x[span], x.shape[1] // key_heads) for x in tensors)


def _by_head(x_THD: Tensor, groups: int) -> Tensor:
    """`[K, G · T, D]`; a view where every head has its own key."""
    if groups == 1:
        return x_THD.transpose(0, 1)
    return x_THD.unflatten(1, (-1, groups)).permute(1, 2, 0, 3).flatten(1, 2)


def _put(out_NHD: Tensor, span: slice, groups: int, left_KQT: Tensor, right_KTD: Tensor, scale: float) -> None:
    """`out[span] = scale · left · right`."""
    product_KQD = torch.bmm(left_KQT, right_KTD)
    product_TKGD = product_KQD.unflatten(1, (groups, -1)).permute(2, 0, 1, 3)
    torch.mul(product_TKGD, scale, out=out_NHD[span].unflatten(1, (-1, groups)))
