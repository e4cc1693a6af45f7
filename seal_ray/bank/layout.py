"""How the real tokens of many rows lie packed in one line, and how they are found again by slot and by row.

Letters: N packed tokens, G slots of a pass, T padded length, P pieces (rows, or parts of them), L labelled tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from seal_ray.bank.bucket import Bucket, causal
from seal_ray.bank.device import sent_array
from seal_ray.bank.ragged import PADDED, Ragged
from seal_ray.bank.rows import Ints, Row
from seal_ray.bank.sharing import Pieces, Sight
from seal_ray.bank.varlen import Rows

TILE = 32
"""On a CPU, short rows of a slot share a line of attention of about this many places."""


PADDING = 4096
"""On a CPU, slots are multiplied one by one when padding them would take more numbers than this for each of them."""


class Groups:
    """Packed rows of a matrix, lying slot by slot, multiplied by each slot's own matrix.

    Slots with equal counts are a plain batched product. Unequal ones are multiplied as they lie where a kernel does
    that (`ragged.py`); one by one on a CPU, where a product costs little to start, unless there is little to pad; and
    padded elsewhere. Zero times NaN is NaN, so what would count is padded so that a slot gone to NaN cannot reach its
    neighbours: on one side with zeros, on the other with the slot's own first token, or with zeros where it has none.
    """

    def __init__(self, counts: Ints, device: torch.device, ragged: Ragged = PADDED) -> None:
        self.ragged = ragged
        self.slots, self.tokens = len(counts), int(counts.sum())
        self.width = int(counts.max(initial=0))
        self.counts = sent_array(counts, device)
        self.even = bool((counts == self.width).all())
        self.every = bool((counts > 0).all())
        """Whether every slot has rows. One that has none is padded with a token of another."""
        self.padding = self.slots * self.width - self.tokens if device.type == "cpu" else 0
        self._counts, self._starts = counts, np.cumsum(counts) - counts
        self._chosen: dict[tuple[bool, ...], Tensor] = {}
        self._parts: dict[tuple[int, int], tuple[slice, Groups]] = {}

    @cached_property
    def spans(self) -> list[tuple[int, slice]]:
        """Each busy slot and where its rows lie."""
        starts, ends = self._starts, self._starts + self._counts
        return [(slot, slice(int(starts[slot]), int(ends[slot]))) for slot in np.flatnonzero(self._counts).tolist()]

    @cached_property
    def ends(self) -> Tensor:
        """Where the rows of each slot end, as kernels are told it."""
        return sent_array(np.cumsum(self._counts).astype(np.int32), self.counts.device)

    @cached_property
    def idle_G11(self) -> Tensor:
        """Which slots have no rows."""
        return (self.counts == 0)[:, None, None]

    @cached_property
    def pad_index(self) -> Tensor:
        """The packed token at each place of the padded slots."""
        within, counts, starts = np.arange(self.width), self._counts[:, None], self._starts[:, None]
        pad = np.where(within < counts, starts + within, np.minimum(starts, self.tokens - 1))
        return sent_array(pad.reshape(-1), self.counts.device)

    @cached_property
    def place(self) -> Tensor:
        """Where each packed token lies in the padded slots."""
        shift = np.arange(self.slots) * self.width - self._starts
        return sent_array(np.arange(self.tokens) + np.repeat(shift, self._counts), self.counts.device)

    def among(self, tokens: Ints) -> Groups:
        """How some of the tokens, in their order, divide over the slots."""
        slots = np.searchsorted(self._starts + self._counts, tokens, side="right")
        return Groups(np.bincount(slots, minlength=self.slots), self.counts.device, self.ragged)

    def part(self, slots: slice) -> tuple[slice, Groups]:
        """Where the tokens of neighbouring slots lie, and how these divide over them."""
        place = slots.start, slots.stop
        if place == (0, self.slots):
            return slice(0, self.tokens), self
        if place not in self._parts:
            own, start = Groups(self._counts[slots], self.counts.device, self.ragged), int(self._starts[slots.start])
            self._parts[place] = slice(start, start + own.tokens), own
        return self._parts[place]

    def column(self, values_G: Tensor) -> Tensor:
        """`[N, 1]`: each slot's value at each of its tokens."""
        return values_G.repeat_interleave(self.counts, output_size=self.tokens)[:, None]

    def of(self, slots: tuple[bool, ...]) -> Tensor | None:
        """Indices of the rows of some slots; None when these are all slots."""
        if all(slots):
            return None
        if slots not in self._chosen:
            self._chosen[slots] = sent_array(np.flatnonzero(np.repeat(slots, self._counts)), self.counts.device)
        return self._chosen[slots]

    def times(self, x_NI: Tensor, w_GIO: Tensor) -> Tensor:
        """`x · w`, each row by its slot's matrix."""
        if (product_NO := self._as_they_lie(x_NI, w_GIO)) is not None:
            return product_NO
        if not self._one_by_one(w_GIO):
            return self._pack(torch.bmm(self._spread(x_NI), w_GIO))
        y_NO = x_NI.new_empty(self.tokens, w_GIO.shape[2])
        for slot, rows in self.spans:
            torch.mm(x_NI[rows], w_GIO[slot], out=y_NO[rows])
        return y_NO

    def add_times(self, y_NO: Tensor, x_NI: Tensor, w_GIO: Tensor) -> None:
        """`y += x · w`."""
        if self.even:
            y_NO.view(self.slots, self.width, -1).baddbmm_(self._spread(x_NI), w_GIO)
        elif (product_NO := self._as_they_lie(x_NI, w_GIO)) is not None:
            y_NO.add_(product_NO)
        elif self._one_by_one(w_GIO):
            for slot, rows in self.spans:
                y_NO[rows].addmm_(x_NI[rows], w_GIO[slot])
        else:
            y_NO.add_(self._pack(torch.bmm(self._spread(x_NI), w_GIO)))

    def add_outer(self, grad_GPQ: Tensor, left_NP: Tensor, right_NQ: Tensor) -> None:
        """`grad += leftᵀ · right`, summed over each slot's own rows."""
        if (outer_GPQ := self._as_they_lie(left_NP.T, right_NQ)) is not None:
            grad_GPQ.add_(outer_GPQ if self.every else outer_GPQ.masked_fill_(self.idle_G11, 0))
            return
        if self._one_by_one(grad_GPQ):
            for slot, rows in self.spans:
                if grad_GPQ.dtype == left_NP.dtype:
                    grad_GPQ[slot].addmm_(left_NP[rows].T, right_NQ[rows])
                else:
                    grad_GPQ[slot].add_(left_NP[rows].T @ right_NQ[rows])
            return
        # Padding must be zero in one of the two: in the narrower.
        wider = self._spread if self.every else self._spread_zeros
        if left_NP.shape[1] < right_NQ.shape[1]:
            left, right = self._spread_zeros(left_NP), wider(right_NQ)
        else:
            left, right = wider(left_NP), self._spread_zeros(right_NQ)
        grad_GPQ.add_(torch.bmm(left.transpose(1, 2), right))

    def _as_they_lie(self, left: Tensor, right: Tensor) -> Tensor | None:
        """A product of unlike counts without padding; None where nothing does that."""
        return None if self.even else self.ragged.product(left, right, self.ends)

    def _one_by_one(self, w_GIO: Tensor) -> bool:
        return self.padding * max(w_GIO.shape[1:]) > PADDING * self.slots

    def _spread(self, x_NI: Tensor) -> Tensor:
        """`[G, T, I]`, padding repeated."""
        x = x_NI if self.even else x_NI.index_select(0, self.pad_index)
        return x.view(self.slots, self.width, -1)

    def _spread_zeros(self, x_NI: Tensor) -> Tensor:
        """`[G, T, I]`, padding zero."""
        if self.even:
            return x_NI.view(self.slots, self.width, -1)
        x = x_NI.new_zeros(self.slots * self.width, x_NI.shape[1])
        return x.index_copy_(0, self.place, x_NI).view(self.slots, self.width, -1)

    def _pack(self, y_GTO: Tensor) -> Tensor:
        """Back to `[N, O]`."""
        y = y_GTO.view(self.slots * self.width, -1)
        return y if self.even else y.index_select(0, self.place)


LONGEST, LEAST = 512, 8192
"""Lines are attended to one by one up to this length (a longer one would keep too many probabilities for the backward
pass), and when they hold this many numbers on average (with fewer, starting the products costs more than they do)."""


class Lines:
    """Consecutive tokens that attend among themselves, as they lie: a row, or several pieces of a slot."""

    def __init__(self, lines: Sequence[Ints], lengths: Ints, starts: Ints, sight: Sight) -> None:
        self.spans = [slice(int(starts[line[0]]), int(starts[line[-1]] + lengths[line[-1]])) for line in lines]
        self.longest = max(span.stop - span.start for span in self.spans)
        self.sights = [sight[span] if len(line) > 1 else None for line, span in zip(lines, self.spans, strict=True)]
        self.biases: dict[tuple[int, int | None, int], Tensor] = {}

    def suit(self, q_NHD: Tensor) -> bool:
        """Whether one line after another is the quicker way."""
        return self.longest <= LONGEST and q_NHD.numel() >= LEAST * len(self.spans)

    def bias(self, number: int, window: int | None, groups: int, dtype: torch.dtype) -> Tensor:
        """What is added to a line's scores, `[G · T, T]`: minus infinity where a query does not see a key."""
        sight = self.sights[number]
        length = self.spans[number].stop - self.spans[number].start
        key = (-1 if sight is None else number, window, groups)
        if key not in self.biases:
            side = self.longest if sight is None else length
            seen = causal(side, window) if sight is None else sight.mask(window)
            bias_TT = torch.zeros(side, side, dtype=dtype).masked_fill_(~seen, float("-inf"))
            self.biases[key] = bias_TT.expand(groups, side, side)
        return self.biases[key][:, :length, :length].reshape(groups * length, length)


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
    lines: Lines | None
    """The rows one by one, as attention on a CPU takes them; None elsewhere."""
    whole: Rows | None
    """The rows as a kernel attends to them that pads none; None where there is none, or rows share their beginnings."""
    row: Tensor
    """The row of each packed token; its piece where rows share their beginnings."""
    lengths: Ints
    """Tokens of each row or piece, which the host need not ask a device for."""
    head_index: Tensor
    targets: Tensor
    weights: Tensor
    head_slot: Tensor
    """Slot, counted from `first`, of each wanted token."""
    first: int
    """The pass covers slots `first` up to `first + tokens.slots`."""


def pack(
    rows: Sequence[Row], device: torch.device, dtype: torch.dtype, share: bool = False, ragged: Ragged = PADDED
) -> Layout:
    """Lay out rows that are sorted by slot; every slot between the first and the last has a place, busy or not.

    With `share`, what rows begin with alike is laid out once, on a CPU: a GPU gains nothing by so few tokens less.
    """
    on_cpu = device.type == "cpu"
    pieces = Pieces.shared(rows) if share and on_cpu else Pieces.whole(rows)
    rows = pieces.rows
    first, slots = rows[0].slot, rows[-1].slot - rows[0].slot + 1
    lengths = np.array([len(row.ids) for row in rows])
    starts = np.cumsum(lengths) - lengths
    ids = np.concatenate([row.ids for row in rows])
    sight = Sight.of(pieces, lengths)
    owner = np.array([row.slot - first for row in rows])
    labels = np.array([len(row.labels) for row in rows])
    head = np.concatenate([row.labels for row in rows]) + np.repeat(starts, labels)
    targets = ids[np.minimum(head + 1, len(ids) - 1)]
    weights = np.repeat([row.weight for row in rows], labels)
    lines = _lines(owner, lengths, pieces.stem_P, TILE if on_cpu else 0)
    buckets, _, place = _buckets(lines, lengths, starts, device, sight)
    whole = None
    if ragged.varlen_attn and place is not None and (pieces.stem_P == np.arange(len(rows))).all():
        whole = Rows(sent_array(np.append(starts, len(ids)).astype(np.int32), device), int(lengths.max()))
    return Layout(
        input_ids=sent_array(ids[None], device),
        position_ids=sight.position[None].to(device),
        tokens=Groups(np.bincount(owner, lengths, slots).astype(np.int64), device, ragged),
        heads=Groups(np.bincount(owner, labels, slots).astype(np.int64), device, ragged),
        buckets=buckets,
        place=None if place is None else sent_array(place, device),
        lines=Lines(lines, lengths, starts, sight) if on_cpu else None,
        whole=whole,
        row=sight.piece.to(device),
        lengths=lengths,
        head_index=sent_array(head, device),
        targets=sent_array(targets, device),
        weights=sent_array(weights, device).to(dtype),
        head_slot=sent_array(np.repeat(owner, labels), device),
        first=first,
    )


@dataclass(frozen=True)
class Beside:
    """Rows of a pass that lie side by side, each a line of its own."""

    rows: Ints
    rows_C: Tensor
    """The same on the device."""
    bucket: Bucket
    index: Ints | None
    """What the bucket's own is on the device: the packed token at each place; None where they lie so already."""


def side_by_side(layout: Layout, padded: bool = True) -> tuple[list[Beside], Ints | None]:
    """The rows of a pass as lines of their own, and where each packed token lies among all of these lines."""
    lengths, device = layout.lengths, layout.row.device
    lines = [np.array([row]) for row in range(len(lengths))]
    buckets, indices, place = _buckets(lines, lengths, np.cumsum(lengths) - lengths, device, padded=padded)
    order = np.argsort(-lengths, kind="stable")
    rows = np.split(order, np.cumsum([bucket.count for bucket in buckets])[:-1])
    rows_on = sent_array(order, device).split([len(part) for part in rows])
    return list(map(Beside, rows, rows_on, buckets, indices)), place


def _buckets(
    lines: Sequence[Ints],
    lengths: Ints,
    starts: Ints,
    device: torch.device,
    sight: Sight | None = None,
    padded: bool = True,
) -> tuple[tuple[Bucket, ...], list[Ints | None], Ints | None]:
    """Lines sorted by length, in buckets whose shortest is more than half as long as the longest; or all are alike.

    With the index of each bucket and where each token lies among all of them, both None where tokens lie so already.
    """
    sizes = np.array([lengths[line].sum() for line in lines])
    if len(lines) == len(lengths) and (lengths == lengths[0]).all():
        return (Bucket(None, len(lengths), int(lengths[0])),), [None], None
    order = np.argsort(-sizes, kind="stable")
    place = np.empty(lengths.sum(), np.int64)
    buckets, indices, at, offset = list[Bucket](), list[Ints | None](), 0, 0
    while at < len(order):
        longest = int(sizes[order[at]])
        shorter = longest - 1 if not padded else longest / 2 if longest > TILE else 0
        count = int((sizes[order[at:]] > shorter).sum())
        # Vectorised softmax and products like whole multiples of sixteen.
        width = -(-longest // 16) * 16 if padded and longest <= TILE else longest
        chosen = [lines[line] for line in order[at : at + count]]
        index = np.empty((count, width), np.int64)
        real = np.zeros((count, width), bool)
        for number, line in enumerate(chosen):
            tokens = np.concatenate([np.arange(starts[row], starts[row] + lengths[row]) for row in line])
            index[number, : len(tokens)], index[number, len(tokens) :] = tokens, tokens[-1]
            real[number, : len(tokens)] = True
            place[tokens] = offset + number * width + np.arange(len(tokens))
        several = any(len(line) > 1 for line in chosen)
        sees = sight.at(torch.from_numpy(index), torch.from_numpy(real), device) if several and sight else None
        indices.append(index.reshape(-1))
        buckets.append(Bucket(sent_array(index.reshape(-1), device), count, width, sees))
        at, offset = at + count, offset + count * width
    return tuple(buckets), indices, place


def _lines(owner: Ints, lengths: Ints, stem: Ints, tile: int) -> list[Ints]:
    """Consecutive rows of one slot, as many as fit a tile; longer ones alone, or with all that go on from them."""
    lines: list[list[int]] = []
    room = 0
    for piece, length in enumerate(lengths):
        fits = lines and length <= room and owner[piece] == owner[piece - 1]
        if stem[piece] != piece or fits:
            lines[-1].append(piece)
        else:
            lines.append([piece])
            room = tile
        room -= length
    return [np.array(line) for line in lines]
