"""Frozen linear layers kept in eight or four bits, and multiplied in the model's precision.

A base takes half or a quarter of the memory, and each of its matrices is made anew whenever it is multiplied. The
adapters on them are not quantized. What quantizes is bitsandbytes, an extra, on GPUs and processors alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seal_ray.model.quantization import BLOCK, Quantization


class QuantizedLinear(nn.Linear):
    """A frozen linear layer whose `weight` is a matrix that lives for a moment."""

    packed: Tensor
    scales: Tensor
    """Of each block of weights."""
    levels: Tensor
    """What a code stands for, as a share of its block's scale."""

    def __init__(self, linear: nn.Linear, kind: Quantization) -> None:
        nn.Module.__init__(self)
        from bitsandbytes import functional

        self.in_features, self.out_features, self.kind = linear.in_features, linear.out_features, kind
        # In one line: bitsandbytes reads blocks that begin in one row and end in the next wrongly on processors.
        weight = linear.weight.detach().flatten()
        if kind == "nf4":
            packed, state = functional.quantize_4bit(weight, blocksize=BLOCK[kind], quant_type=kind)
        else:
            packed, state = functional.quantize_blockwise(weight, blocksize=BLOCK[kind])
        self.made_of = weight.dtype
        for name, part in {"packed": packed, "scales": state.absmax, "levels": state.code}.items():
            self.register_buffer(name, part, persistent=False)
        self.bias = linear.bias

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """`[O, I]`, made anew; autograd is not to keep it."""
        from bitsandbytes import functional

        parts: Any = {"absmax": self.scales, "code": self.levels, "blocksize": BLOCK[self.kind], "dtype": self.made_of}
        if self.kind == "int8":
            line = functional.dequantize_blockwise(self.packed, functional.QuantState(**parts))
        else:
            shape = torch.Size((self.out_features * self.in_features,))
            state = functional.QuantState(**parts, shape=shape, quant_type=self.kind)
            line = functional.dequantize_4bit(self.packed, state)
        return line.view(self.out_features, self.in_features)

    def forward(self, input: Tensor) -> Tensor:
        product: Tensor = _Product.apply(input, self)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias


class _Product(torch.autograd.Function):
    """`x Wᵀ`, which keeps nothing for its gradient: the matrix is made once more there."""

    @staticmethod
    def forward(ctx, x: Tensor, layer: QuantizedLinear) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.layer = layer
        return nn.functional.linear(x, layer.weight)

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        return dy @ ctx.layer.weight, None


def quantize(model: Any, kind: Quantization, device: torch.device | None = None) -> None:
    """Put quantized layers in the place of a model's linear ones, but for its output head, one after the other.

    Each is quantized on the device that it is to be on, so that this never holds the whole model.
    """
    head = model.get_output_embeddings()
    linear = [(name, module) for name, module in model.named_modules() if type(module) is nn.Linear]
    for name, module in linear:
        if module is head:
            continue
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, QuantizedLinear(module.to(device), kind))
