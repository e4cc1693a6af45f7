"""Layers that carry a state along a text: short convolutions, Gated DeltaNet, Mamba. Each text begins with a fresh one.

Where attention is told which tokens of a pass belong together, these mixers know one text a line. So they are given the
rows of a pass side by side, while their linear layers multiply the packed tokens as all others do.
Letters: N packed tokens, R rows, C lines, T places of a line, P places of all lines, D width.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, LinearAttentionLayer

from seal_ray.bank.device import sent_array
from seal_ray.bank.gather import ToLines, ToTokens
from seal_ray.bank.layout import Beside, Groups, Layout, side_by_side
from seal_ray.bank.rows import Ints

STATES = ("cache_params", "past_key_values")
"""What Transformers calls the argument with the states that a mixer goes on from."""


def states_argument(module: nn.Module) -> str | None:
    """The name of a mixer's argument with its states; None for what is no mixer.

    All mixers begin with a convolution over a few tokens, and nothing else that is a layer of a decoder does.
    """
    if not hasattr(module, "layer_idx") or not any(isinstance(child, nn.Conv1d) for child in module.children()):
        return None
    return next((name for name in STATES if name in inspect.signature(module.forward).parameters), None)


class States:
    """What one mixer carries along each row, by kind, `[R, …]`: the last inputs of its convolution, and its memory."""

    def __init__(self, kinds: dict[tuple[str, int], Tensor] | None = None) -> None:
        self.kinds = kinds or {}

    @classmethod
    def after(cls, layer: LinearAttentionLayer) -> States:
        """Those that a mixer left where Transformers keeps them."""
        found = {"conv_states": layer.conv_states, "recurrent_states": layer.recurrent_states}
        return cls({(name, n): x for name, kept in found.items() for n, x in kept.items() if x is not None})

    def layer(self) -> LinearAttentionLayer:
        """The same where Transformers looks for them."""
        layer = LinearAttentionLayer()
        for (name, number), x in self.kinds.items():
            getattr(layer, name)[number] = x
            getattr(layer, f"is_{name}_initialized")[number] = True
            layer.has_previous_state[number] = True
            if name == "conv_states":
                layer.conv_kernel_size[number] = x.shape[-1]
        return layer

    def put(self, rows_C: Tensor, states: States, rows: int) -> None:
        """Take those of some rows, of `rows` altogether."""
        for kind, x in states.kinds.items():
            if kind not in self.kinds:
                self.kinds[kind] = x.new_zeros(rows, *x.shape[1:])
            self.kinds[kind][rows_C] = x

    def of(self, rows_C: Tensor) -> States:
        """A copy of those of some rows."""
        return States({kind: x.index_select(0, rows_C) for kind, x in self.kinds.items()})

    def repeat(self, source: int, others: Sequence[int]) -> None:
        """Have rows go on from where another is."""
        for x in self.kinds.values():
            x[others] = x[source].clone()

    @property
    def bytes(self) -> int:
        return sum(x.nbytes for x in self.kinds.values())


@dataclass(frozen=True)
class Batch:
    """Rows of nearly one length as lines of one length, padded at their ends, which no real token sees."""

    rows_C: Tensor
    length: int
    index_P: Tensor | None
    """The packed token at each place, padding repeating one of the line's own; None where they are all, and lie so."""
    groups: Groups
    """How their tokens divide over the slots."""
    padding: tuple[Tensor, Tensor] | None
    """Where each of their tokens lies among the places, and which of them is at each place; None without padding."""

    @classmethod
    def of(cls, part: Beside, place_n: Ints, tokens: Groups) -> Batch:
        """The rows of a bucket, whose tokens lie at these places of it, and are among these."""
        assert part.index is not None
        tokens_n, device = part.index[place_n], part.rows_C.device
        within_P = np.searchsorted(tokens_n, part.index)
        padded = len(place_n) < len(within_P)
        padding = (sent_array(place_n, device), sent_array(within_P, device)) if padded else None
        return cls(part.rows_C, part.bucket.length, part.bucket.index, tokens.among(tokens_n), padding)

    def lines(self, x_ND: Tensor) -> Tensor:
        """`[C, T, D]`"""
        return self._lines(x_ND if self.index_P is None else ToLines.apply(x_ND, self.index_P))

    def packed(self, x_CTI: Tensor) -> Tensor:
        """The real tokens of lines."""
        x_PI = x_CTI.reshape(-1, x_CTI.shape[-1])
        return ToTokens.apply(x_PI, self.padding[0]) if self.padding else x_PI

    def spread(self, y_nO: Tensor) -> Tensor:
        """Back to lines."""
        return self._lines(ToLines.apply(y_nO, self.padding[1]) if self.padding else y_nO)

    def _lines(self, x_PD: Tensor) -> Tensor:
        return x_PD.view(len(self.rows_C), self.length, -1)


@dataclass(frozen=True)
class Mixer:
    """A mixer of the model during a pass."""

    layer: int
    call: Callable[[Tensor, Batch | None, Cache | None], Tensor]

    def onwards(self, x_CTD: Tensor, batch: Batch | None, before: States) -> tuple[Tensor, States]:
        """Texts that go on from states, or from none at their beginnings; the states after them too."""
        layer = before.layer()
        # Some mixers ask by their own number whether there are states, and some for the last of all layers.
        y_CTD = self.call(x_CTD, batch, Cache(layers=[layer] * (self.layer + 1)))
        return y_CTD, States.after(layer)


class Batches:
    """The rows of a pass side by side, in as few batches as their lengths allow."""

    def __init__(self, layout: Layout, keep: bool) -> None:
        """With `keep` none is padded, for the states are wanted that are there at the end of each text."""
        parts, place_N = side_by_side(layout, padded=not keep)
        self.place_N = None if place_N is None else sent_array(place_N, layout.row.device)
        if place_N is None:
            self.parts = [Batch(part.rows_C, part.bucket.length, None, layout.tokens, None) for part in parts]
            return
        self.parts, start = [], 0
        for part in parts:
            end = start + part.bucket.count * part.bucket.length
            place_n = place_N[(place_N >= start) & (place_N < end)] - start
            self.parts.append(Batch.of(part, place_n, layout.tokens))
            start = end

    def mix(self, x_ND: Tensor, each: Callable[[Tensor, Batch], Tensor]) -> Tensor:
        """What `each` makes of the lines of every batch, as packed tokens."""
        y_PD = torch.cat([each(batch.lines(x_ND), batch).flatten(0, 1) for batch in self.parts])
        return y_PD if self.place_N is None else ToTokens.apply(y_PD, self.place_N)
