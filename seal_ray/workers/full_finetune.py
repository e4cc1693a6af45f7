"""Continued pretraining of all weights, where there is the memory: a copy of the base is trained and then queried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from seal_ray.bank import loss_scaling
from seal_ray.bank.optim import batch_order, lr_factor
from seal_ray.types import DataError, OptimSpec, UserError

if TYPE_CHECKING:
    from seal_ray.adapters.lora import Adapter
    from seal_ray.bank import TokenText

_BYTES = 16
"""A parameter with its gradient and its two moments, in float32."""


def finetune_all_weights(
    model: Any, texts: Sequence[TokenText], optim: OptimSpec, seed: int, max_length: int
) -> list[float]:
    """Train every weight of a model in place; the loss of each step, before it. Its dtype is the same before and after.

    Order, schedule, clipping and loss are those of an adapter's trial with the same seed and settings. The weights are
    held in float32 at least, computed with in the model's own precision.
    """
    dtype = model.dtype
    kept = [text for text in texts if any(text.learn[1:max_length])]
    if not kept:
        raise DataError("no token of the texts carries loss; there is nothing to train on")
    model.to(torch.promote_types(dtype, torch.float32)).requires_grad_(True)
    model.eval()
    settings: dict[str, Any] = {"lr": optim.lr, "betas": optim.betas, "eps": optim.eps}
    adamw = torch.optim.AdamW(model.parameters(), weight_decay=optim.weight_decay, **settings)
    batches = batch_order(len(kept), optim, seed)
    losses: list[float] = []
    factor = loss_scaling.START
    for step, batch in enumerate(batches):
        for group in adamw.param_groups:
            group["lr"] = optim.lr * lr_factor(optim, step, len(batches))
        loss, factor = _fill(model, [kept[index] for index in batch], max_length, dtype, factor)
        if optim.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), optim.clip_norm)
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        losses.append(loss)
    model.to(dtype).requires_grad_(False)
    return losses


def _fill(
    model: Any, texts: Sequence[TokenText], max_length: int, dtype: torch.dtype, factor: float
) -> tuple[float, float]:
    """Fill the gradients, scaled up meanwhile in float16; the loss, and the scale at which they fitted."""
    tokens = sum(sum(text.learn[1:max_length]) for text in texts)
    while True:
        with _recomputed(model):
            with torch.autocast(model.device.type, dtype, enabled=dtype.itemsize < 4):
                loss = _loss(model, texts, max_length)
            (loss * (factor * tokens if loss_scaling.needed(dtype) else 1.0)).backward()
        if not loss_scaling.needed(dtype):
            return float(loss.detach()), factor
        grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        if all(bool(grad.isfinite().all()) for grad in grads) or not loss.isfinite() or factor <= loss_scaling.LEAST:
            torch._foreach_div_(grads, factor * tokens)
            return float(loss.detach()), factor
        factor *= loss_scaling.LESS
        model.zero_grad(set_to_none=True)


@contextmanager
def _recomputed(model: Any) -> Iterator[None]:
    """Layers compute their activations twice instead of keeping them.

    Transformers ties this to training mode, and with it the dropout that a config may have: it would be drawn from
    a generator that belongs to nobody, where an adapter's trial has none.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def merge(model: Any, adapter: Adapter) -> None:
    """Add an adapter to the weights it was trained over, and to no others: a head is untied from the embeddings."""
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    for module in adapter.modules:
        linear = model.get_submodule(module)
        if uses[id(linear.weight)] > 1:
            linear.weight = torch.nn.Parameter(linear.weight.detach().clone(), linear.weight.requires_grad)
            for config in (model.config, model.config.get_text_config()):
                config.tie_word_embeddings = False
        down, up = (torch.from_numpy(part).double() for part in adapter.pair(module))
        linear.weight.data += (adapter.scale * up @ down).to(linear.weight)


def too_large(model: Any) -> UserError:
    """What to say when the memory does not suffice."""
    billions = sum(parameter.numel() for parameter in model.parameters()) / 1e9
    return UserError(
        f"evaluation.full_finetune: out of memory; {billions:.2g} billion weights take "
        f"{_BYTES * billions:.0f} GB in training, and there are the activations and the trainer's own base; "
        "take a smaller trial.optim.batch_size, a larger device, or train an adapter"
    )


def _loss(model: Any, texts: Sequence[TokenText], max_length: int) -> torch.Tensor:
    """Mean over the labelled tokens of a batch, each by the weight of its text; padding is neither seen nor learnt."""
    width = max(min(len(text.ids), max_length) for text in texts)
    ids_BT = torch.zeros(len(texts), width, dtype=torch.long, device=model.device)
    labels_BT, seen_BT = torch.full_like(ids_BT, -100), torch.zeros_like(ids_BT)
    for row, text in enumerate(texts):
        ids = torch.tensor(text.ids[:max_length])
        ids_BT[row, : len(ids)], seen_BT[row, : len(ids)] = ids, 1
        labels_BT[row, : len(ids)] = ids.where(torch.tensor(text.learn[:max_length]), torch.tensor(-100))
    logits_BTV = model(input_ids=ids_BT, attention_mask=seen_BT, use_cache=False).logits
    logits_BTV = logits_BTV if logits_BTV.dtype.itemsize >= 4 else logits_BTV.float()
    losses_BT = cross_entropy(logits_BTV[:, :-1].transpose(1, 2), labels_BT[:, 1:], reduction="none")
    weights_B = torch.tensor([text.weight for text in texts], dtype=losses_BT.dtype, device=losses_BT.device)
    return (weights_B @ losses_BT).sum() / (labels_BT[:, 1:] >= 0).sum()
