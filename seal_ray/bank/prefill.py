"""The beginning of generation: prompts become keys and values, and what several of them begin with is read once.

Letters: R rows, N packed tokens, T places of a line, C cache length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

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


def prefill(patched: PatchedModel, adapters: Adapters, prompts: Sequence[Row], budget: int, cache: KVCache) -> Tensor:
    """Fill the cache with prompts that are sorted by slot; the predictions after each, `[R, V]`."""
    together = families(prompts, [len(prompt.ids) - 1 for prompt in prompts], WORTH)
    first = [_last(prompts[f.members[0]], 0, f.shared) for f in together]
    heads = torch.tensor([f.members[0] for f in together])

    def begun(layout: Layout, at: slice) -> Opened:
        return layout, PackedAttention(layout, cache, heads[at].to(patched.device))

    logits = [row for _, logits_LV in passes(patched, adapters, first, budget, begun) for row in logits_LV]
    rest = [(number, f.shared) for f in together if f.shared for number in f.members]
    if not rest:
        return torch.stack(logits)
    for family in together:
        cache.repeat(family.members, family.shared)
    after = np.array(rest)
    before = {
        layer: states.of(torch.arange(cache.rows, device=patched.device)) for layer, states in cache.states.items()
    }

    def continued(layout: Layout, at: slice) -> Opened:
        rows, begins = (torch.from_numpy(column).to(patched.device) for column in after[at].T)
        layout = replace(layout, position_ids=layout.position_ids + begins[layout.row])
        return layout, ContinuedAttention(layout, cache, rows, before)

    own = [_last(prompts[number], shared, 0) for number, shared in rest]
    found = iter([row for _, logits_LV in passes(patched, adapters, own, budget, continued) for row in logits_LV])
    alone = iter(zip(together, logits, strict=True))
    return torch.stack([next(found) if f.shared else row for f, row in alone for _ in f.members])


def _last(prompt: Row, start: int, end: int) -> Row:
    """A part of a prompt, of which the prediction after its last token is wanted."""
    ids = prompt.ids[start : end or None]
    return Row(prompt.slot, ids, np.array([len(ids) - 1]))


def passes(
    patched: PatchedModel,
    adapters: Adapters,
    rows: Sequence[Row],
    budget: int,
    opened: Callable[[Layout, slice], Opened],
) -> Iterator[tuple[Layout, Tensor]]:
    """The logits of each pass's wanted tokens, in order. How its rows attend is told by which of them they are."""
    at = 0
    for batch in cut(rows, budget):
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
    layout, attention = opened(pack(rows, patched.device, patched.dtype), slice(at, at + len(rows)))
    with patched.active(layout, attention, adapters):
        return layout, patched.logits(layout)
