"""Packed tokens laid out as padded lines, and taken out of them again.

Letters: N packed tokens, P places of all lines, padding among them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ToLines(torch.autograd.Function):
    """Gather padded lines. What stands in padding is seen by no real token, so its gradient is zero and is dropped."""

    @staticmethod
    def forward(ctx: Any, x_N: Tensor, index_P: Tensor) -> Tensor:
        ctx.index, ctx.tokens = index_P, x_N.shape[0]
        return x_N.index_select(0, index_P)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0].new_zeros(ctx.tokens, *grads[0].shape[1:])
        return grad.index_add_(0, ctx.index, grads[0]), None


class ToTokens(torch.autograd.Function):
    """Take the real tokens out of the padded lines; the gradient of padding is zero."""

    @staticmethod
    def forward(ctx: Any, x_P: Tensor, place_N: Tensor) -> Tensor:
        ctx.place, ctx.padded = place_N, x_P.shape[0]
        return x_P.index_select(0, place_N)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0].new_zeros(ctx.padded, *grads[0].shape[1:])
        return grad.index_copy_(0, ctx.place, grads[0]), None
