"""What turns a trial's seed and settings into its order, its schedule and its steps; AdamW over all slots at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from seal_ray.bank.device import sent
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
    """One slot's numbers for one AdamW step."""

    optim: OptimSpec
    lr: float
    step: int
    """Counted from 1."""

    @classmethod
    def of(cls, optim: OptimSpec, step: int, steps: int) -> StepScalars:
        """The numbers of one of the `steps`, counted from 0."""
        return cls(optim, optim.lr * lr_factor(optim, step, steps), step + 1)

    @property
    def clip(self) -> float:
        return self.optim.clip_norm if self.optim.clip_norm > 0 else math.inf

    def columns(self) -> tuple[float, ...]:
        """The numbers of a step in the order in which `adamw_columns` takes them."""
        beta1, beta2 = self.optim.betas
        decay = 1.0 - self.lr * self.optim.weight_decay
        corrections = 1.0 - beta1**self.step, (1.0 - beta2**self.step) ** 0.5
        return self.lr, beta1, beta2, self.optim.eps, decay, *corrections, self.clip


def adamw_step(buffers_SP: tuple[Tensor, ...], scalars: Sequence[StepScalars]) -> None:
    """Clip each slot's gradient to its own norm and take each slot's own AdamW step, in place.

    The buffers are weights, gradients (used up), first and second moments.
    On a CPU slot by slot with torch's fused kernel, which reads memory once; on a GPU all at once.
    """
    if buffers_SP[0].device.type == "cpu":
        for row, slot in enumerate(scalars):
            _adamw_fused(slot, *(buffer[row] for buffer in buffers_SP))
        return
    columns_S1 = torch.tensor([slot.columns() for slot in scalars], dtype=buffers_SP[0].dtype)
    adamw_columns(*buffers_SP, *sent(columns_S1, buffers_SP[0].device).split(1, dim=1))


def _adamw_fused(slot: StepScalars, weight_P: Tensor, grad_P: Tensor, mean_P: Tensor, square_P: Tensor) -> None:
    factor = slot.clip / (torch.linalg.vector_norm(grad_P).item() + 1e-6)
    if not factor >= 1.0:
        grad_P.mul_(factor)
    beta1, beta2 = slot.optim.betas
    adamw(
        [weight_P],
        [grad_P],
        [mean_P],
        [square_P],
        [],
        [torch.tensor(slot.step - 1.0)],
        fused=True,
        amsgrad=False,
        beta1=beta1,
        beta2=beta2,
        lr=slot.lr,
        weight_decay=slot.optim.weight_decay,
        eps=slot.optim.eps,
        maximize=False,
    )


def adamw_columns(
    weight: Tensor,
    grad: Tensor,
    mean: Tensor,
    square: Tensor,
    lr: Tensor,
    beta1: Tensor,
    beta2: Tensor,
    eps: Tensor,
    decay: Tensor,
    correction1: Tensor,
    correction2: Tensor,
    clip: Tensor,
) -> None:
    """Every slot's step at once: `[S, P]`, and each slot's numbers as columns `[S, 1]`. `grad` is used up."""
    norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
    grad.mul_((clip / (norm + 1e-6)).clamp_(max=1.0))
    weight.mul_(decay)
    mean.lerp_(grad, 1.0 - beta1)
    square.mul_(beta2).add_(grad.square_().mul_(1.0 - beta2))
    torch.sqrt(square, out=grad)
    grad.div_(correction2).add_(eps)
    torch.div(mean, grad, out=grad)
    weight.sub_(grad.mul_(lr / correction1))
