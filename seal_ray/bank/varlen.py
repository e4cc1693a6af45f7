"""Packed rows that attend to themselves as they lie, by torch's `varlen_attn` in whichever of its versions is there.

Letters: N packed tokens, R rows, H heads, K key-value heads, D head width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from inspect import signature

from torch import Tensor

Kernel = Callable[..., Tensor]


@dataclass(frozen=True)
class Rows:
    """Where packed rows lie."""

    starts: Tensor
    """`[R + 1]`, int32: where each begins, and the last one ends."""
    longest: int


def fits(kernel: Kernel) -> bool:
    """Whether a version takes what is asked of it here; the first one had neither scale nor window."""
    return {"scale", "window_size"} <= _parameters(kernel)


def attention(
    kernel: Kernel, q_NHD: Tensor, k_NKD: Tensor, v_NKD: Tensor, rows: Rows, scale: float | None, window: int | None
) -> Tensor:
    """Of each row to itself and what comes before; `window` counts the tokens that one sees, itself among them."""
    shared: dict[str, bool] = {}
    if q_NHD.shape[1] != k_NKD.shape[1]:
        if "enable_gqa" in _parameters(kernel):
            shared = {"enable_gqa": True}
        else:  # before torch 2.12 nothing is promised of heads that share keys
            each = q_NHD.shape[1] // k_NKD.shape[1]
            k_NKD, v_NKD = (x.repeat_interleave(each, dim=1) for x in (k_NKD, v_NKD))
    before = -1 if window is None else window - 1
    bounds = rows.starts, rows.starts, rows.longest, rows.longest
    return kernel(q_NHD, k_NKD, v_NKD, *bounds, scale=scale, window_size=(before, 0), **shared)


@cache
def _parameters(kernel: Kernel) -> frozenset[str]:
    return frozenset(signature(kernel).parameters)
