"""Attention over packed rows, plugged into Transformers' table of attention functions.

A bank's pass names it as the model's implementation, so no mask is ever built; outside a pass the model is untouched.
Letters: N packed tokens, R rows, T padded length, C cache length, H heads, K key-value heads, D head width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from seal_ray.bank.bucket import Bucket, causal
from seal_ray.bank.cpu_attention import LineAttention, TiledAttention
from seal_ray.bank.device import sent_array
from seal_ray.bank.gather import ToLines, ToTokens
from seal_ray.bank.layout import TILE, Layout, side_by_side
from seal_ray.bank.mixing import Batch, Batches, Mixer, States
from seal_ray.bank.rows import Ints

NAME = "seal_ray_bank"
_PACKING = {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx", "position_ids"}
_OUTPUTS = {"output_attentions", "output_hidden_states", "output_router_logits", "use_cache", "num_items_in_batch"}
HARMLESS = _PACKING | _OUTPUTS | {"dropout", "deterministic"}
"""What layers hand to their attention that changes nothing of what it computes: nothing is dropped out in evaluation
mode, and which tokens belong together is the layout's to say."""


LEAST_BYTES = 1024
"""What a token is taken to hold in a model that has no keys and values, or hardly any."""


class Unfit(Exception):
    """What of a model's attention the bank cannot compute."""


class Attention(Protocol):
    """What a pass does where the tokens of a text meet, which keeps its rows apart."""

    def attend(self, layer: int, q_NHD: Tensor, k_NKD: Tensor, v_NKD: Tensor, params: AttentionParams) -> Tensor:
        """A layer's softmax attention."""

    def mix(self, mixer: Mixer, x_ND: Tensor) -> Tensor:
        """A layer that carries a state along a text."""


class AttentionParams:
    """A layer's own kind of attention."""

    def __init__(
        self,
        scale: float | None,
        window: int | None,
        softcap: float | None = None,
        sinks_H: Tensor | None = None,
    ) -> None:
        self.scale, self.window, self.softcap, self.sinks_H = scale, window, softcap, sinks_H

    @property
    def plain(self) -> bool:
        return self.softcap is None and self.sinks_H is None

    def __call__(self, q_RHTD: Tensor, k_RKCD: Tensor, v_RKCD: Tensor, mask: Tensor | None) -> Tensor:
        """Masked attention, or causal over equal lengths when there is no mask."""
        grouped = q_RHTD.shape[1] != k_RKCD.shape[1]
        if self.plain:
            return F.scaled_dot_product_attention(
                q_RHTD, k_RKCD, v_RKCD, attn_mask=mask, is_causal=mask is None, scale=self.scale, enable_gqa=grouped
            )
        if grouped:
            repeats = q_RHTD.shape[1] // k_RKCD.shape[1]
            k_RKCD, v_RKCD = (x.repeat_interleave(repeats, dim=1) for x in (k_RKCD, v_RKCD))
        scale = self.scale if self.scale is not None else q_RHTD.shape[-1] ** -0.5
        scores = q_RHTD @ k_RKCD.transpose(2, 3) * scale
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        allowed = causal(q_RHTD.shape[2], None, scores.device) if mask is None else mask
        return self._softmax(scores.masked_fill(~allowed, float("-inf"))) @ v_RKCD

    def _softmax(self, scores_RHTC: Tensor) -> Tensor:
        """A sink is one more score for each head, always seen, whose share goes nowhere."""
        if self.sinks_H is None:
            return scores_RHTC.softmax(-1)
        # Of one new token a row, the queries of a key head stand in the place of a text's.
        sinks = self.sinks_H.to(scores_RHTC.dtype).view(1, scores_RHTC.shape[1], -1, 1)
        return torch.cat([scores_RHTC, sinks.expand(*scores_RHTC.shape[:-1], 1)], -1).softmax(-1)[..., :-1]


class KVCache:
    """Keys and values of each layer, `[R, K, C, D]`, or its states; filled by a prefill, grown a token at a time."""

    def __init__(self, rows: int, capacity: int) -> None:
        self.rows, self.capacity = rows, capacity
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.states: dict[int, States] = defaultdict(States)

    def put(
        self, layer: int, rows_N: Tensor, positions_N: Tensor, k_NKD: Tensor, v_NKD: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A layer's keys and values, with these among them; allocated on first use, when their shapes are known."""
        if layer not in self.layers:
            self.layers[layer] = self._empty(k_NKD), self._empty(v_NKD)
        k_RKCD, v_RKCD = self.layers[layer]
        k_RKCD[rows_N, :, positions_N] = k_NKD
        v_RKCD[rows_N, :, positions_N] = v_NKD
        return k_RKCD, v_RKCD

    def repeat(self, rows: Sequence[int], length: int) -> None:
        """Have rows begin as the first of them does."""
        source, *others = rows
        for x_RKCD in chain.from_iterable(self.layers.values()):
            x_RKCD[others, :, :length] = x_RKCD[source, :, :length].clone()
        for states in self.states.values():
            states.repeat(source, others)

    def clear(self, rows: Tensor) -> None:
        """Leave nothing of what was in rows: what their masks hide must be numbers."""
        for x_RKCD in chain.from_iterable(self.layers.values()):
            x_RKCD[rows] = 0

    def _empty(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.rows, like.shape[-2], self.capacity, like.shape[-1])

    @property
    def row_tokens(self) -> int:
        """How many tokens' keys and values take as much as the states of one row."""
        states = sum(states.bytes for states in self.states.values()) // self.rows
        token = sum(x.nbytes for x in chain.from_iterable(self.layers.values())) // (self.rows * self.capacity)
        return states // max(token, LEAST_BYTES)

    def resize(self, kept_R: Tensor, rows: int, capacity: int) -> None:
        """Have so many rows, of which the first are those that are kept, and so long ones."""
        for layer, pair in self.layers.items():
            k_RKCD, v_RKCD = (_resized(x_RKCD, kept_R, rows, capacity) for x_RKCD in pair)
            self.layers[layer] = k_RKCD, v_RKCD
        self.rows, self.capacity = rows, capacity
        first_R = torch.arange(len(kept_R), device=kept_R.device)
        for layer, states in self.states.items():
            self.states[layer] = States()
            self.states[layer].put(first_R, states.of(kept_R), rows)


def _resized(x_RKCD: Tensor, kept_R: Tensor, rows: int, capacity: int) -> Tensor:
    if rows == len(kept_R) and capacity == x_RKCD.shape[2]:
        return x_RKCD.index_select(0, kept_R)
    resized_RKCD = x_RKCD.new_zeros(rows, x_RKCD.shape[1], capacity, x_RKCD.shape[3])
    length = min(capacity, x_RKCD.shape[2])
    resized_RKCD[: len(kept_R), :, :length] = x_RKCD[kept_R, :, :length]
    return resized_RKCD


class PackedAttention:
    """Whole texts: each row attends to itself; filled into a cache, at some of its rows, when one is given."""

    def __init__(self, layout: Layout, cache: KVCache | None = None, rows: Tensor | None = None) -> None:
        self.layout, self.cache, self.rows_R = layout, cache, rows
        self.rows = layout.row if rows is None else rows[layout.row]

    def attend(self, layer: int, q_NHD: Tensor, k_NKD: Tensor, v_NKD: Tensor, params: AttentionParams) -> Tensor:
        if self.cache is not None:
            self.cache.put(layer, self.rows, self.layout.position_ids[0], k_NKD, v_NKD)
        buckets, place = self.layout.buckets, self.layout.place
        if params.plain and (whole := self.layout.whole):
            ragged = self.layout.tokens.ragged
            out_NHD = ragged.attention(q_NHD, k_NKD, v_NKD, whole, params.scale, params.window)
            if out_NHD is not None:
                return out_NHD
        if params.plain and self.layout.lines is not None and q_NHD.shape[-1] == v_NKD.shape[-1]:
            scale = params.scale if params.scale is not None else q_NHD.shape[-1] ** -0.5
            if len(buckets) == 1 and place is not None and buckets[0].sight and buckets[0].length <= TILE:
                return TiledAttention.apply(q_NHD, k_NKD, v_NKD, buckets[0], place, params.window, scale)
            if self.layout.lines.suit(q_NHD) and (place is not None or buckets[0].count == 1):
                return LineAttention.apply(q_NHD, k_NKD, v_NKD, self.layout.lines, params.window, scale)
        parts = []
        for bucket in buckets:
            q_CHTD, k_CKTD, v_CKTD = (_to_lines(x, bucket) for x in (q_NHD, k_NKD, v_NKD))
            mask = bucket.mask(params.window, q_NHD.device)
            out_CHTD = params(q_CHTD, k_CKTD, v_CKTD, mask[:, None] if mask is not None and mask.dim() == 3 else mask)
            parts.append(out_CHTD.transpose(1, 2).flatten(0, 1))
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return out if place is None else ToTokens.apply(out, place)

    @cached_property
    def batches(self) -> Batches:
        return Batches(self.layout, keep=self.cache is not None)

    def mix(self, mixer: Mixer, x_ND: Tensor) -> Tensor:
        def each(x_CTD: Tensor, batch: Batch) -> Tensor:
            if self.cache is None:
                return mixer.call(x_CTD, batch, None)
            y_CTD, after = mixer.onwards(x_CTD, batch, States())
            rows_C = batch.rows_C if self.rows_R is None else self.rows_R[batch.rows_C]
            self.cache.states[mixer.layer].put(rows_C, after, self.cache.rows)
            return y_CTD

        return self.batches.mix(x_ND, each)


class ContinuedAttention:
    """Rows that go on where their rows of a cache end: each sees what is there, and itself.

    `before` is what they go on from, for the cache's own states move on, and a pass may be made again.
    """

    @classmethod
    def after(
        cls, layout: Layout, cache: KVCache, places: Ints, begins: Ints, before: dict[int, States]
    ) -> tuple[Layout, ContinuedAttention]:
        """The pass of rows laid out as if they began there, each of which goes on in its place after so many tokens."""
        device = layout.row.device
        begins_R = sent_array(begins, device)
        layout = replace(layout, position_ids=layout.position_ids + begins_R[layout.row])
        return layout, cls(layout, cache, sent_array(places, device), begins + layout.lengths, before)

    def __init__(self, layout: Layout, cache: KVCache, rows_R: Tensor, ends: Ints, before: dict[int, States]) -> None:
        self.layout, self.cache, self.before, self.rows_R = layout, cache, before, rows_R
        self.rows = rows_R[layout.row]
        self.positions = layout.position_ids[0]
        self.parts, place = side_by_side(layout)
        self.place = None if place is None else sent_array(place, rows_R.device)
        self.rows_of = [rows_R[part.rows_C] for part in self.parts]
        self.longest = [int(ends[part.rows].max()) for part in self.parts]
        self.masks: dict[tuple[int, int | None], Tensor] = {}

    def attend(self, layer: int, q_NHD: Tensor, k_NKD: Tensor, v_NKD: Tensor, params: AttentionParams) -> Tensor:
        cache_k, cache_v = self.cache.put(layer, self.rows, self.positions, k_NKD, v_NKD)
        out = []
        for number, (rows_C, part) in enumerate(zip(self.rows_of, self.parts, strict=True)):
            mask, longest = self._mask(number, params.window), self.longest[number]
            q_CHTD = _to_lines(q_NHD, part.bucket)
            out_CHTD = params(q_CHTD, cache_k[rows_C, :, :longest], cache_v[rows_C, :, :longest], mask)
            out.append(out_CHTD.transpose(1, 2).flatten(0, 1))
        return torch.cat(out) if self.place is None else torch.cat(out).index_select(0, self.place)

    @cached_property
    def batches(self) -> Batches:
        return Batches(self.layout, keep=True)

    def mix(self, mixer: Mixer, x_ND: Tensor) -> Tensor:
        def each(x_CTD: Tensor, batch: Batch) -> Tensor:
            rows_C = self.rows_R[batch.rows_C]
            y_CTD, after = mixer.onwards(x_CTD, batch, self.before[mixer.layer].of(rows_C))
            self.cache.states[mixer.layer].put(rows_C, after, self.cache.rows)
            return y_CTD

        return self.batches.mix(x_ND, each)

    def _mask(self, number: int, window: int | None) -> Tensor:
        """`[lines, 1, T, C]`: true where a place's token sees a key of its row."""
        if (number, window) not in self.masks:
            bucket = self.parts[number].bucket
            at = self.positions if bucket.index is None else self.positions[bucket.index]
            at = at.view(bucket.count, 1, bucket.length, 1)
            seen = torch.arange(self.longest[number], device=at.device)
            mask = seen <= at
            if window is not None:
                mask &= seen > at - window
            self.masks[number, window] = mask
        return self.masks[number, window]


class CachedAttention:
    """One new token a row, at `positions`, over its row of the cache up to itself.

    `rows` says which rows of the cache these are; None where they are all of them, in their order.
    """

    def __init__(self, cache: KVCache, rows: Tensor | None, positions: Tensor, longest: int) -> None:
        self.cache, self.chosen, self.positions, self.longest = cache, rows, positions, longest
        every = torch.arange(cache.rows, device=positions.device)
        self.rows = every if rows is None else rows
        self.masks: dict[int | None, Tensor] = {}

    def attend(self, layer: int, q_NHD: Tensor, k_NKD: Tensor, v_NKD: Tensor, params: AttentionParams) -> Tensor:
        cache_k, cache_v = self.cache.put(layer, self.rows, self.positions, k_NKD, v_NKD)
        _, heads, width = q_NHD.shape
        # The queries that share a key head stand in for its query length, so no key is repeated. Rows of the cache that
        # are not asked see one token each: to choose the others would be to copy them.
        q_RKQD = self._spread(q_NHD).reshape(self.cache.rows, k_NKD.shape[1], -1, width)
        out = params(q_RKQD, cache_k[:, :, : self.longest], cache_v[:, :, : self.longest], self._mask(params.window))
        out = out.reshape(self.cache.rows, heads, -1)
        return out if self.chosen is None else out.index_select(0, self.chosen)

    def mix(self, mixer: Mixer, x_ND: Tensor) -> Tensor:
        states = self.cache.states[mixer.layer]
        before = states if self.chosen is None else states.of(self.chosen)
        y_R1D, after = mixer.onwards(x_ND[:, None], None, before)
        if self.chosen is None:
            self.cache.states[mixer.layer] = after
        else:
            states.put(self.chosen, after, self.cache.rows)
        return y_R1D[:, 0]

    def _spread(self, x_N: Tensor) -> Tensor:
        """Each row's at its row of the cache, zeros at the others."""
        if self.chosen is None:
            return x_N
        return x_N.new_zeros(self.cache.rows, *x_N.shape[1:]).index_copy_(0, self.chosen, x_N)

    def _mask(self, window: int | None) -> Tensor:
        if window not in self.masks:
            seen, at = torch.arange(self.longest, device=self.positions.device), self._spread(self.positions)[:, None]
            mask = seen <= at
            if window is not None:
                mask &= seen > at - window
            self.masks[window] = mask[:, None, None]
        return self.masks[window]


def _to_lines(x_NHD: Tensor, bucket: Bucket) -> Tensor:
    x = x_NHD if bucket.index is None else ToLines.apply(x_NHD, bucket.index)
    return x.reshape(bucket.count, bucket.length, *x_NHD.shape[1:]).transpose(1, 2)


def bank_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What Transformers calls at every attention layer: `[1, H, N, D]` in, `[1, N, H, D]` out."""
    unknown = sorted(name for name, given in kwargs.items() if given is not None and name not in HARMLESS)
    if unknown:
        raise Unfit(f"its attention takes {', '.join(unknown)}, which the bank does not know")
    if attention_mask is not None:
        raise Unfit("its attention has a mask of its own")
    if is_causal is False or getattr(module, "is_causal", True) is False:
        raise Unfit("its tokens see those after them")
    attention: Attention = module.bank_context.attention  # type: ignore[union-attr, assignment]
    q_NHD, k_NKD, v_NKD = (x[0].transpose(0, 1) for x in (query, key, value))
    params = AttentionParams(scaling, sliding_window, softcap, s_aux)
    return attention.attend(module.layer_idx, q_NHD, k_NKD, v_NKD, params)[None], None  # type: ignore[arg-type]


ALL_ATTENTION_FUNCTIONS.register(NAME, bank_attention)
