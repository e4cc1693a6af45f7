"""Several adapters made one: stacked, or compressed to a smaller rank. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from seal_ray.adapters.lora import Adapter, tensor_names


def stack(*adapters: Adapter) -> Adapter:
    """One adapter, of summed rank, that adds exactly what all of them add together."""
    scales = {adapter.scale for adapter in adapters}
    scale = scales.pop() if len(scales) == 1 else 1.0
    tensors: dict[str, np.ndarray] = {}
    for module in dict.fromkeys(module for adapter in adapters for module in adapter.modules):
        width_in, width_out, dtype = _widths(module, *adapters)
        part_a, part_b = [], []
        for adapter in adapters:
            if module in adapter.modules:
                down, up = adapter.pair(module)
                part_a.append(down)
                part_b.append(up if adapter.scale == scale else up * up.dtype.type(adapter.scale / scale))
            else:
                part_a.append(np.zeros((adapter.rank, width_in), dtype))
                part_b.append(np.zeros((width_out, adapter.rank), dtype))
        name_a, name_b = tensor_names(module)
        tensors[name_a], tensors[name_b] = np.concatenate(part_a, axis=0), np.concatenate(part_b, axis=1)
    rank = sum(adapter.rank for adapter in adapters)
    targets = dict.fromkeys(target for adapter in adapters for target in adapter.targets)
    return Adapter(rank, scale * rank, tuple(targets), tensors)


def total(adapters: Iterable[Adapter | None], max_rank: int = 0) -> tuple[Adapter | None, float]:
    """One adapter that adds what all of them do, compressed where it exceeds `max_rank` (0: never), and the error."""
    some = [adapter for adapter in adapters if adapter]
    whole = stack(*some) if len(some) > 1 else next(iter(some), None)
    return compress(whole, max_rank) if whole and 0 < max_rank < whole.rank else (whole, 0.0)


def without(whole: Adapter, steps: Sequence[tuple[Adapter | None, Adapter]], rank: int) -> tuple[Adapter, float]:
    """A sum without some of the steps that led to it, each from one adapter to the next; and what compression lost.

    What is left has `rank` at most. The steps' own factors cancel, so no more than rounding is lost where that is room
    for the others.
    """
    taken = [replace(after, alpha=-after.alpha) for _, after in steps]
    left, error = total((whole, *taken, *(before for before, _ in steps)), rank)
    assert left
    return left, error


def compress(adapter: Adapter, rank: int) -> tuple[Adapter, float]:
    """The nearest adapter of a smaller rank, by truncated SVD of each module's update.

    The second value is the relative error: the norm of what was lost over the norm of all updates together.
    """
    if rank < 1:
        raise ValueError(f"an adapter cannot be compressed to rank {rank}; give at least 1")
    if rank >= adapter.rank:
        return adapter, 0.0
    tensors: dict[str, np.ndarray] = {}
    lost = total = 0.0
    for module in adapter.modules:
        down, up = adapter.pair(module)
        left, core_left = np.linalg.qr(up.astype(np.float64) * adapter.scale)
        right, core_right = np.linalg.qr(down.astype(np.float64).T)
        u, singular, v = np.linalg.svd(core_left @ core_right.T)
        root = np.sqrt(singular[:rank])
        new_down, new_up = np.zeros((rank, down.shape[1])), np.zeros((up.shape[0], rank))
        new_down[: len(root)] = root[:, None] * (v[: len(root)] @ right.T)
        new_up[:, : len(root)] = (left @ u[:, : len(root)]) * root
        name_a, name_b = tensor_names(module)
        tensors[name_a], tensors[name_b] = new_down.astype(down.dtype), new_up.astype(up.dtype)
        lost += float(np.sum(singular[rank:] ** 2))
        total += float(np.sum(singular**2))
    error = (lost / total) ** 0.5 if total else 0.0
    return Adapter(rank, float(rank), adapter.targets, tensors), error


def _widths(module: str, *adapters: Adapter) -> tuple[int, int, np.dtype]:
    for adapter in adapters:
        if module in adapter.modules:
            down, up = adapter.pair(module)
            return down.shape[1], up.shape[0], down.dtype
    raise KeyError(module)
