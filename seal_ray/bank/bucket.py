"""Lines of packed tokens that attend side by side, padded to the length of the longest of them.

Letters: T places of a line.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seal_ray.bank.sharing import Sight


class Bucket:
    """Pieces that attend side by side: `count` lines of `length` places, a whole row to a line or several pieces.

    Pieces share a line only with those of their own slot, so that a slot gone to NaN cannot reach its neighbours.
    """

    def __init__(self, index: Tensor | None, count: int, length: int, sight: Sight | None = None) -> None:
        self.count, self.length = count, length
        self.index = index
        """The packed token at each place (padding repeats one of the line's own); None when they lie so already."""
        self.sight = sight
        """What each place sees, `[count, T]`; None when each line is one row."""
        self.masks: dict[int | None, Tensor] = {}
        self.biases: dict[int | None, Tensor] = {}
        self.indices: dict[int, Tensor] = {}
        self.places: dict[int, Tensor] = {}

    def mask(self, window: int | None, device: torch.device) -> Tensor | None:
        """True where a query sees a key: itself and what came before in its row, within the window.

        `[T, T]` or `[count, T, T]`; None means plainly causal, right padding being out of every real token's sight.
        """
        if self.sight is None and (window is None or window >= self.length):
            return None
        if window not in self.masks:
            self.masks[window] = self.sight.mask(window) if self.sight else causal(self.length, window, device)
        return self.masks[window]

    def bias(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """The mask of shared lines, which are a processor's, as something to add to scores, `[count, 1, T, T]`."""
        if window not in self.biases:
            mask = self.mask(window, torch.device("cpu"))
            assert mask is not None
            self.biases[window] = torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, float("-inf"))[:, None]
        return self.biases[window]

    def head_place(self, place: Tensor, heads: int) -> Tensor:
        """`place`, in a matrix of one head a line in that order, for each token and head."""
        if heads not in self.places:
            line, within = place // self.length, place % self.length
            head = torch.arange(heads, device=place.device)
            self.places[heads] = ((line[:, None] * heads + head) * self.length + within[:, None]).reshape(-1)
        return self.places[heads]

    def head_index(self, heads: int) -> Tensor:
        """`index` for a matrix of one head a line, in the order line, head, place."""
        if heads not in self.indices:
            assert self.index is not None
            head = torch.arange(heads, device=self.index.device)[:, None]
            self.indices[heads] = (self.index.view(self.count, 1, self.length) * heads + head).reshape(-1)
        return self.indices[heads]


def causal(length: int, window: int | None, device: torch.device | None = None) -> Tensor:
    """`[T, T]`: what each token of one row sees."""
    mask = torch.ones(length, length, dtype=torch.bool, device=device).tril_()
    return mask if window is None else mask.triu_(1 - window)
