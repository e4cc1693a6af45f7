"""The beginning of generation: prompts become keys and values, and what several of them begin with is read once.

Letters: R rows, N packed tokens, T places of a line, C cache length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seal_ray.bank.attention import Attention, ContinuedAttention, KVCache, PackedAttention
from seal_ray.bank.layout import Layout, pack
from seal_ray.bank.linear import Adapters, PatchedModel
from seal_ray.bank.rows import Row, cut
from seal_ray.bank.sharing import families

WORTH = 32
"""Tokens that two prompts must begin with alike: a pass more costs about as much."""

Opened = tuple[Layout, Attention]


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt of a slot, and its row of the cache."""

    row: Row
    place: int
    known: bool = False
    """Whether it was read before, so that those that begin alike go on from what lies there."""

    def part(self, start: int, end: int) -> Row:
        """Some of its tokens, of which the prediction after the last is wanted."""
        return Row(self.row.slot, self.row.ids[start:end], np.array([end - start - 1]))

    def __len__(self) -> int:
        return len(self.row.ids)


def prefill(
    patched: PatchedModel, adapters: Adapters, prompts: Sequence[Prompt], budget: int, cache: KVCache
) -> Tensor:
    """Read prompts, sorted by slot, into the cache; the predictions after each that was not known, `[R, V]`."""
    begun, handed, ended = list[tuple[Prompt, int]](), list[tuple[list[int], int]](), list[tuple[Prompt, int]]()
    for family in families([prompt.row for prompt in prompts], [len(prompt) - 1 for prompt in prompts], WORTH):
        members, shared = [prompts[number] for number in family.members], family.shared
        fresh = [prompt for prompt in members if not prompt.known]
        if shared and fresh:
            source = next((prompt for prompt in members if prompt.known), fresh[0])
            if not source.known:
                begun.append((source, shared))
            handed.append(([source.place, *(prompt.place for prompt in fresh if prompt is not source)], shared))
            ended += [(prompt, shared) for prompt in fresh]
        else:
            begun += [(prompt, len(prompt)) for prompt in fresh]
    found = _begun(patched, adapters, begun, budget, cache)
    for places, shared in handed:
        cache.repeat(places, shared)
    found |= _ended(patched, adapters, ended, budget, cache)
    return torch.stack([found[prompt] for prompt in prompts if not prompt.known])


def _begun(
    patched: PatchedModel, adapters: Adapters, parts: Sequence[tuple[Prompt, int]], budget: int, cache: KVCache
) -> dict[Prompt, Tensor]:
    """Read the first so many tokens of prompts."""
    places = torch.tensor([prompt.place for prompt, _ in parts])

    def opened(layout: Layout, at: slice) -> Opened:
        return layout, PackedAttention(layout, cache, places[at].to(patched.device))

    rows = [prompt.part(0, end) for prompt, end in parts]
    logits = (row for _, logits_LV in passes(patched, adapters, rows, budget, opened) for row in logits_LV)
    return dict(zip((prompt for prompt, _ in parts), logits, strict=True))


def _ended(
    patched: PatchedModel, adapters: Adapters, parts: Sequence[tuple[Prompt, int]], budget: int, cache: KVCache
) -> dict[Prompt, Tensor]:
    """Read prompts from so many tokens on, which lie in the cache."""
    after = np.array([(prompt.place, start) for prompt, start in parts])
    before = {
        layer: states.of(torch.arange(cache.rows, device=patched.device)) for layer, states in cache.states.items()
    }

    def opened(layout: Layout, at: slice) -> Opened:
        places, begins = after[at].T
        return ContinuedAttention.after(layout, cache, places, begins, before)

    rows = [prompt.part(start, len(prompt)) for prompt, start in parts]
    logits = (row for _, logits_LV in passes(patched, adapters, rows, budget, opened) for row in logits_LV)
    return dict(zip((prompt for prompt, _ in parts), logits, strict=True))


def passes(
    patched: PatchedModel,
    adapters: Adapters,
    rows: Sequence[Row],
    budget: int,
    opened: Callable[[Layout, slice], Opened],
) -> Iterator[tuple[Layout, Tensor]]:
    """The logits of each pass's wanted tokens, in order. How its rows attend is told by which of them they are."""
    at = 0
    for batch in cut(rows, budget) if rows else ():
        layout, logits_LV = _pass(patched, adapters, batch, at, opened)
        if len(batch) > 1 and bool(logits_LV.isnan().any()):
            # A text gone to NaN may have reached those it shared a line of attention with.
            for number, row in enumerate(batch):
                yield _pass(patched, adapters, [row], at + number, opened)
        else:
            yield layout, logits_LV
        at += len(batch)


@torch.no_grad()
def _pass(
    patched: PatchedModel, adapters: Adapters, rows: list[Row], at: int, opened: Callable[[Layout, slice], Opened]
) -> tuple[Layout, Tensor]:
    layout, attention = opened(
        pack(rows, patched.device, patched.dtype, ragged=patched.ragged), slice(at, at + len(rows))
    )
    with patched.active(layout, attention, adapters):
        return layout, patched.logits(layout)


@torch.no_grad()
def read(patched: PatchedModel, adapters: Adapters, layout: Layout) -> Tensor:
    """The logits of the wanted tokens of packed rows, each read from its beginning."""
    with patched.active(layout, PackedAttention(layout), adapters):
        return patched.logits(layout)
