"""How the real tokens of many rows lie packed in one line, and how they are found again by slot and by row.

Letters: N packed tokens, G slots of a pass, T padded length, R rows, L labelled tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Ints = np.ndarray


@dataclass(frozen=True)
class Row:
    """One text of one slot, ready to be packed. `labels` are the positions whose next token is learnt."""

    slot: int
    ids: Ints
    labels: Ints
    weight: float = 1.0
    """What each of its labelled tokens counts in its slot's loss."""


class Groups:
    """Packed rows of a matrix, lying slot by slot, multiplied by each slot's own matrix.

    Slots with equal counts are a plain batched product; unequal ones are padded for it. Padding repeats the slot's
    own first token, so that a slot gone to NaN cannot reach its neighbours, and its gradients are zeros.
    """

    def __init__(self, counts: Ints, device: torch.device) -> None:
        self.slots, self.tokens = len(counts), int(counts.sum())
        self.width = int(counts.max(initial=0))
        self.even = bool((counts == self.width).all())
        self.counts = _tensor(counts, device)
        if self.even:
            return
        starts = np.cumsum(counts) - counts
        within = np.arange(self.width)
        pad = np.where(within < counts[:, None], starts[:, None] + within, np.minimum(starts, self.tokens - 1)[:, None])
        place = np.arange(self.tokens) + np.repeat(np.arange(self.slots) * self.width - starts, counts)
        self.pad_index = _tensor(pad.reshape(-1), device)
        self.place = _tensor(place, device)

    def column(self, values_G: Tensor) -> Tensor:
        """`[N, 1]`: each slot's value at each of its tokens."""
        return values_G.repeat_interleave(self.counts, output_size=self.tokens)[:, None]

    def spread(self, x_NI: Tensor) -> Tensor:
        """`[G, T, I]`, padding repeated."""
        x = x_NI if self.even else x_NI.index_select(0, self.pad_index)
        return x.view(self.slots, self.width, -1)

    def spread_zeros(self, x_NI: Tensor) -> Tensor:
        """`[G, T, I]`, padding zero."""
        if self.even:
            return x_NI.view(self.slots, self.width, -1)
        x = x_NI.new_zeros(self.slots * self.width, x_NI.shape[1])
        return x.index_copy_(0, self.place, x_NI).view(self.slots, self.width, -1)

    def pack(self, y_GTO: Tensor) -> Tensor:
        """Back to `[N, O]`."""
        y = y_GTO.reshape(self.slots * self.width, -1)
        return y if self.even else y.index_select(0, self.place)

    def add_product(self, y_NO: Tensor, z_GTR: Tensor, w_GRO: Tensor) -> None:
        """`y += z · w`, in place."""
        if self.even:
            y_NO.view(self.slots, self.width, -1).baddbmm_(z_GTR, w_GRO)
        else:
            y_NO.add_(self.pack(torch.bmm(z_GTR, w_GRO)))


@dataclass(frozen=True)
class Bucket:
    """Rows of similar length, padded to the longest of them. `index` is None when they lie padded already."""

    rows: Tensor
    """Their numbers in the pass."""
    count: int
    length: int
    index: Tensor | None


@dataclass(frozen=True)
class Layout:
    """One pass through the model: which token is where, whose it is, and which of them carry loss."""

    input_ids: Tensor
    position_ids: Tensor
    tokens: Groups
    """How the packed tokens divide over the slots."""
    heads: Groups
    """How the tokens whose logits are wanted do."""
    buckets: tuple[Bucket, ...]
    place: Tensor | None
    """Where each packed token lies in the concatenated buckets; None when in the same order."""
    head_index: Tensor
    targets: Tensor
    weights: Tensor
    head_slot: Tensor
    """Slot, counted from `first`, of each wanted token."""
    first: int
    """The pass covers slots `first` up to `first + tokens.slots`."""


def cut(rows: Sequence[Row], budget: int) -> Iterator[list[Row]]:
    """Consecutive rows of at most `budget` tokens together, or one row."""
    batch: list[Row] = []
    tokens = 0
    for row in rows:
        if batch and tokens + len(row.ids) > budget:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += len(row.ids)
    yield batch


def pack(rows: Sequence[Row], device: torch.device, dtype: torch.dtype) -> Layout:
    """Lay out rows that are sorted by slot; every slot between the first and the last has a place, busy or not."""
    first, slots = rows[0].slot, rows[-1].slot - rows[0].slot + 1
    lengths = np.array([len(row.ids) for row in rows])
    starts = np.cumsum(lengths) - lengths
    ids = np.concatenate([row.ids for row in rows])
    positions = np.arange(len(ids)) - np.repeat(starts, lengths)
    owner = np.array([row.slot - first for row in rows])
    labels = np.array([len(row.labels) for row in rows])
    head = np.concatenate([row.labels for row in rows]) + np.repeat(starts, labels)
    targets = ids[np.minimum(head + 1, len(ids) - 1)]
    weights = np.repeat([row.weight for row in rows], labels)
    buckets, place = _buckets(lengths, starts, device)
    return Layout(
        input_ids=_tensor(ids[None], device),
        position_ids=_tensor(positions[None], device),
        tokens=Groups(np.bincount(owner, lengths, slots).astype(np.int64), device),
        heads=Groups(np.bincount(owner, labels, slots).astype(np.int64), device),
        buckets=buckets,
        place=place,
        head_index=_tensor(head, device),
        targets=_tensor(targets, device),
        weights=_tensor(weights, device).to(dtype),
        head_slot=_tensor(np.repeat(owner, labels), device),
        first=first,
    )


def _buckets(lengths: Ints, starts: Ints, device: torch.device) -> tuple[tuple[Bucket, ...], Tensor | None]:
    """Rows sorted by length, in groups whose shortest is more than half as long as the longest."""
    if (lengths == lengths[0]).all():
        every = torch.arange(len(lengths), device=device)
        return (Bucket(every, len(lengths), int(lengths[0]), None),), None
    order = np.argsort(-lengths, kind="stable")
    place = np.empty(lengths.sum(), np.int64)
    buckets, at, offset = [], 0, 0
    while at < len(order):
        longest = int(lengths[order[at]])
        floor = longest / 2 if longest > 16 else 0
        count = int((lengths[order[at:]] > floor).sum())
        rows = order[at : at + count]
        within = np.arange(longest)
        index = starts[rows][:, None] + np.minimum(within, lengths[rows][:, None] - 1)
        for number, row in enumerate(rows):
            span = np.arange(lengths[row])
            place[starts[row] + span] = offset + number * longest + span
        buckets.append(Bucket(_tensor(rows, device), count, longest, _tensor(index.reshape(-1), device)))
        at, offset = at + count, offset + count * longest
    return tuple(buckets), _tensor(place, device)


def _tensor(array: Ints, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
