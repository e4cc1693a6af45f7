"""Losses of packed tokens, in chunks, so that no float32 copy of all logits is made."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK_ELEMENTS, CHUNK_ON_CPU = 1 << 24, 1 << 18
"""On a CPU a chunk stays in cache."""


def token_losses(logits_LV: Tensor, targets_L: Tensor) -> Tensor:
    """`[L]`: minus the log-probability of each target, in float32 or better."""
    losses = [normaliser - value for _, _, normaliser, value in _chunks(logits_LV, targets_L)]
    return torch.cat(losses)


def token_losses_and_grad(logits_LV: Tensor, targets_L: Tensor, weights_L: Tensor) -> tuple[Tensor, Tensor]:
    """The losses, and the gradient of their weighted sum with respect to the logits, written over the logits."""
    losses = []
    for rows, chunk, normaliser, value in _chunks(logits_LV, targets_L):
        losses.append(normaliser - value)
        probs = chunk.sub_(normaliser[:, None]).exp_()
        probs.scatter_add_(1, targets_L[rows, None], probs.new_full((len(value), 1), -1.0))
        probs.mul_(weights_L[rows, None])
        if probs.dtype != logits_LV.dtype:
            logits_LV[rows] = probs
    return torch.cat(losses), logits_LV


def divergences(logits_LV: Tensor, reference_LV: Tensor) -> Tensor:
    """`[L]`: `KL(reference ‖ now)` of each prediction over the whole vocabulary, in float32 or better."""
    return torch.cat([_kl(logits_LV, reference_LV, rows)[0] for rows in _slices(logits_LV)])


def kl_and_grad(logits_LV: Tensor, reference_LV: Tensor, weights_L: Tensor) -> tuple[Tensor, Tensor]:
    """The `divergences`, and the gradient of their weighted sum with respect to the logits, written over the logits."""
    found = []
    for rows in _slices(logits_LV):
        diverged_C, now_CV, probs_CV = _kl(logits_LV, reference_LV, rows)
        found.append(diverged_C)
        logits_LV[rows] = now_CV.exp_().sub_(probs_CV).mul_(weights_L[rows, None])
    return torch.cat(found), logits_LV


def _kl(logits_LV: Tensor, reference_LV: Tensor, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Of some rows the divergences, the logarithm of what is predicted now, and what the reference predicts."""
    now, before = (_wide(x_LV[rows]).log_softmax(1) for x_LV in (logits_LV, reference_LV))
    probs = before.exp()
    return (probs * (before - now)).sum(1), now, probs


def soft_losses_and_grad(
    logits_LV: Tensor, tokens_LK: Tensor, probs_LK: Tensor, weights_L: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy to distributions over some tokens; the gradient of its weighted sum is written over the logits."""
    losses = []
    for rows in _slices(logits_LV):
        now = _wide(logits_LV[rows]).log_softmax(1)
        wanted = probs_LK[rows].to(now.dtype)
        losses.append(-(wanted * now.gather(1, tokens_LK[rows])).sum(1))
        grad = now.exp_().mul_(wanted.sum(1, keepdim=True)).scatter_add_(1, tokens_LK[rows], -wanted)
        logits_LV[rows] = grad.mul_(weights_L[rows, None])
    return torch.cat(losses), logits_LV


def distilled_losses_and_grad(
    logits_LV: Tensor, tokens_LK: Tensor, probs_LK: Tensor, weights_L: Tensor
) -> tuple[Tensor, Tensor]:
    """`KL(teacher ‖ now)` where the teacher names some tokens, all others being one event, of what probability is left.

    It is the divergence over the whole vocabulary, short of what that event's probability weighs: the divergence
    between the two among those others. The gradient of its weighted sum is written over the logits.
    """
    losses = []
    for rows in _slices(logits_LV):
        now = _wide(logits_LV[rows]).log_softmax(1)
        tokens_CK, wanted_CK = tokens_LK[rows], probs_LK[rows].to(now.dtype)
        named_CK = now.gather(1, tokens_CK)
        others_CV = now.exp_().scatter_(1, tokens_CK, 0.0)
        left_C = others_CV.sum(1).clamp_min(torch.finfo(now.dtype).tiny)
        wanted_left_C = (1 - wanted_CK.sum(1)).clamp_min(0.0)
        losses.append(_divergence(wanted_CK, named_CK).sum(1) + _divergence(wanted_left_C, left_C.log()))
        grad_CV = others_CV.mul_((1 - wanted_left_C / left_C)[:, None])
        grad_CV.scatter_(1, tokens_CK, named_CK.exp() - wanted_CK)
        logits_LV[rows] = grad_CV.mul_(weights_L[rows, None])
    return torch.cat(losses), logits_LV


def _divergence(wanted: Tensor, log_now: Tensor) -> Tensor:
    """`p log (p / q)`, nothing where p is nothing."""
    return torch.xlogy(wanted, wanted) - wanted * log_now


def _chunks(logits_LV: Tensor, targets_L: Tensor) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Rows, their logits, the log of the sum of their exponentials, and the target's logit."""
    for rows in _slices(logits_LV):
        chunk = _wide(logits_LV[rows])
        yield rows, chunk, chunk.logsumexp(1), chunk.gather(1, targets_L[rows, None])[:, 0]


def widened(logits_LV: Tensor) -> Iterator[Tensor]:
    """The logits a chunk at a time, in float32 or better."""
    return (_wide(logits_LV[rows]) for rows in _slices(logits_LV))


def _slices(logits_LV: Tensor) -> Iterator[slice]:
    height = max(1, (CHUNK_ON_CPU if logits_LV.device.type == "cpu" else CHUNK_ELEMENTS) // logits_LV.shape[1])
    for at in range(0, max(1, len(logits_LV)), height):
        yield slice(at, min(at + height, len(logits_LV)))


def _wide(logits_LV: Tensor) -> Tensor:
    return logits_LV.float() if logits_LV.dtype.itemsize < 4 else logits_LV
