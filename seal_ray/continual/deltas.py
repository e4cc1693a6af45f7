"""Ways that change what was learnt before it is added, or how much of it counts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from statistics import fmean

import numpy as np

from seal_ray.adapters.lora import Adapter, tensor_names
from seal_ray.continual.base import Keeps, Likelihoods, Stand
from seal_ray.continual.plain import Merge
from seal_ray.continual.texts import spread

TEXTS = 64
"""How many texts of earlier passages are read to measure what is forgotten of them."""
WEIGHTS = (1.0, 0.75, 0.5, 0.25)
KEPT = 0.2
"""Share of the outputs that a sparse change reaches."""
HELD = 0.5
"""Share of a layer's inputs' directions that may be held for earlier passages."""


def scaled(adapter: Adapter | None, factor: float) -> Adapter | None:
    """An adapter that adds so many times as much; none where that is nothing."""
    return replace(adapter, alpha=adapter.alpha * factor) if adapter and factor else None


class Averaged(Merge):
    """A fast copy learns every passage on top of all before; the one that is asked follows it by a part of the way.

    By how large a part is measured each time: the one under which old texts and new ones are likeliest, both together.
    """

    keeps: Keeps = "mixed"

    def base(self, stand: Stand) -> Adapter | None:
        return self.sum(stand.start, *stand.learnt)

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        fast = await self.total(stand.below, learned)
        followed = [await self.total(scaled(stand.head, 1 - weight), scaled(fast, weight)) for weight in WEIGHTS]
        old = spread(stand.lessons, TEXTS)
        if not old:
            return followed[0]
        found = [await likelihoods(each, (*old, *stand.new)) for each in followed]
        worth = [fmean(each[: len(old)]) + fmean(each[len(old) :]) for each in found]
        return followed[int(np.argmax(worth))]


class Sparse(Merge):
    """As `merge`, but a lesson keeps only those outputs of each layer that it moves most."""

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        return await self.total(stand.head, await asyncio.to_thread(sparse, learned, KEPT))


def sparse(adapter: Adapter, share: float) -> Adapter:
    """The adapter with all but the most changed outputs of each module set to zero."""
    tensors = dict(adapter.tensors)
    for module in adapter.modules:
        down, up = adapter.pair(module)
        moved = np.einsum("or,rs,os->o", up, down @ down.T, up)
        least = np.sort(moved)[-max(1, round(share * len(moved)))]
        tensors[tensor_names(module)[1]] = np.where(moved[:, None] >= least, up, 0).astype(up.dtype)
    return replace(adapter, tensors=tensors)


class Orthogonal(Merge):
    """As `merge`, but a lesson may read only input directions that the policy's own adapter does not."""

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        if stand.head:
            learned = await asyncio.to_thread(beside, learned, stand.head)
        return await self.total(stand.head, learned)


def beside(adapter: Adapter, held: Adapter) -> Adapter:
    """The adapter without what it reads in the directions that another one reads most."""
    tensors = dict(adapter.tensors)
    for module in set(adapter.modules) & set(held.modules):
        down, _ = adapter.pair(module)
        unit = _directions(held, module, int(HELD * down.shape[1]))
        tensors[tensor_names(module)[0]] = (down - (down @ unit.T) @ unit).astype(down.dtype)
    return replace(adapter, tensors=tensors)


def _directions(adapter: Adapter, module: str, most: int) -> np.ndarray:
    """The directions of its input that a module's adapter reads, as orthonormal rows, the strongest first."""
    down, up = (tensor.astype(np.float64) for tensor in adapter.pair(module))
    basis, core = np.linalg.qr(down.T)
    _, strength, rows = np.linalg.svd(up @ core.T, full_matrices=False)
    return (rows @ basis.T)[strength > 1e-6 * strength[0]][:most]
