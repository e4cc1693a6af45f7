"""What turns a trial's seed and settings into its order, its schedule and its steps; AdamW over all slots at once."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor

from seal_ray.types import OptimSpec, derive_seed


def batch_order(texts: int, optim: OptimSpec, seed: int) -> list[list[int]]:
    """The text indices of every step: a fresh shuffle per epoch, the last batch of an epoch may be short.

    Within a batch the indices are sorted: their order does not matter, and equal batches are recognised.
    """
    generator = torch.Generator().manual_seed(derive_seed("order", seed))
    batches = []
    for _ in range(optim.epochs):
        order = torch.randperm(texts, generator=generator).tolist()
        batches += [sorted(order[at : at + optim.batch_size]) for at in range(0, texts, optim.batch_size)]
    return batches


def lr_factor(optim: OptimSpec, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at a step (from 0) of `steps`; equal to Transformers' `get_scheduler`."""
    warmup = optim.warmup_steps
    if step < warmup:
        return step / max(1, warmup)
    if optim.schedule == "constant":
        return 1.0
    if optim.schedule == "linear":
        return max(0.0, (steps - step) / max(1, steps - warmup))
    progress = (step - warmup) / max(1, steps - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


@dataclass(frozen=True)
class StepScalars:
    """One slot's numbers for one AdamW step, in the order `_adamw` takes them."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    decay: float
    correction1: float
    correction2: float
    clip: float

    @classmethod
    def of(cls, optim: OptimSpec, step: int, steps: int) -> StepScalars:
        """For a step counted from 0."""
        lr = optim.lr * lr_factor(optim, step, steps)
        beta1, beta2 = optim.betas
        return cls(
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=optim.eps,
            decay=1.0 - lr * optim.weight_decay,
            correction1=1.0 - beta1 ** (step + 1),
            correction2=(1.0 - beta2 ** (step + 1)) ** 0.5,
            clip=optim.clip_norm if optim.clip_norm > 0 else math.inf,
        )


def adamw_step(buffers_SP: tuple[Tensor, ...], scalars: list[StepScalars]) -> None:
    """Clip each slot's gradient to its own norm and take each slot's own AdamW step, in place.

    The buffers are weights, gradients (used up), first and second moments.
    On a CPU slot by slot, so that a slot's row stays in cache over the ten operations; on a GPU all at once.
    """
    if buffers_SP[0].is_cuda:
        table = np.array([astuple(slot) for slot in scalars])
        columns_S1 = torch.from_numpy(table).to(buffers_SP[0].dtype).pin_memory()
        columns_S1 = columns_S1.to(buffers_SP[0].device, non_blocking=True)
        _adamw(*buffers_SP, *columns_S1.split(1, dim=1))
        return
    for row, slot in enumerate(scalars):
        _adamw(*(buffer[row : row + 1] for buffer in buffers_SP), *astuple(slot))


def _adamw(
    weight: Tensor,
    grad: Tensor,
    mean: Tensor,
    square: Tensor,
    lr: Tensor | float,
    beta1: Tensor | float,
    beta2: Tensor | float,
    eps: Tensor | float,
    decay: Tensor | float,
    correction1: Tensor | float,
    correction2: Tensor | float,
    clip: Tensor | float,
) -> None:
    """The scalars are numbers for one row, or columns `[S, 1]` for many. `grad` is used up."""
    norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
    grad.mul_((clip / (norm + 1e-6)).clamp_(max=1.0))
    weight.mul_(decay)
    mean.lerp_(grad, 1.0 - beta1)
    square.mul_(beta2).add_(grad.square_().mul_(1.0 - beta2))
    torch.sqrt(square, out=grad)
    grad.div_(correction2).add_(eps)
    torch.div(mean, grad, out=grad)
    weight.sub_(grad.mul_(lr / correction1))
