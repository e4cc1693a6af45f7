"""The optimisers that both small worlds' bases were made with."""

from __future__ import annotations

import torch
from torch import nn

from seal_ray.domains.arcworld import pretrain as arcworld
from seal_ray.domains.microworld import pretrain as microworld

SHAPES = ((8, 24), (24, 8), (16, 16), (8, 24))


def test_both_take_the_same_steps_up_to_rounding() -> None:
    draw = torch.Generator().manual_seed(1)
    begun, *gradients = [[torch.randn(shape, generator=draw) for shape in SHAPES] for _ in range(4)]
    one, other = ([nn.Parameter(matrix.clone()) for matrix in begun] for _ in range(2))
    optimizers = arcworld.Muon(one, lr=0.1), microworld.Muon(other, lr=0.1, momentum=0.95, weight_decay=0.01)
    for of_step in gradients:
        for params, optimizer in zip((one, other), optimizers, strict=True):
            for param, gradient in zip(params, of_step, strict=True):
                param.grad = gradient.clone()
            optimizer.step()
    assert not any(torch.equal(moved, first) for moved, first in zip(one, begun, strict=True))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
