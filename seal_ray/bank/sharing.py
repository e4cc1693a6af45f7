"""Rows of a slot that begin alike: what they begin with is worked out once, and each of them goes on from there.

Letters: P pieces, C lines, T places of a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from seal_ray.bank.rows import Ints, Row

WORTH = 16
"""Tokens that trained rows must begin with alike to share a line, to which attending costs more than to its rows."""
LINE = 256
"""Tokens of such a line, or twice what its rows share where that is more: attention grows with the square."""


@dataclass(frozen=True)
class Family:
    """Consecutive rows of a slot, and how many tokens they begin with alike; 0 for one that is by itself."""

    members: range
    shared: int


def families(rows: Sequence[Row], most: Sequence[int], worth: int, line: int | None = None) -> list[Family]:
    """Rows that are worked out together, where `worth` tokens or more are alike.

    Of each row at most `most` tokens are shared. With `line`, a family has as many tokens, or twice what it shares.
    """
    found: list[Family] = []
    tokens = 0
    for number, row in enumerate(rows):
        if found:
            last = found[-1]
            first, count = last.members[0], len(last.members)
            known = last.shared or most[first]
            alike = min(_alike(rows[first].ids[:known], row.ids), most[number]) if rows[first].slot == row.slot else 0
            # Worked out once, `alike` tokens save one reading for each member that there was; `known` save one fewer.
            saves = alike >= worth and alike * count >= known * (count - 1)
            if saves and (line is None or tokens + len(row.ids) - count * alike <= max(line, 2 * alike)):
                found[-1] = Family(range(last.members.start, number + 1), alike)
                tokens += len(row.ids)
                continue
        found.append(Family(range(number, number + 1), 0))
        tokens = len(row.ids)
    return found


def _alike(a: Ints, b: Ints) -> int:
    length = min(len(a), len(b))
    unlike = np.flatnonzero(a[:length] != b[:length])
    return int(unlike[0]) if len(unlike) else length


@dataclass(frozen=True)
class Pieces:
    """What lies one after another in a pass: whole rows, or what several begin with and then the rest of each."""

    rows: Sequence[Row]
    begins_P: Ints
    """Position of the first token of each."""
    stem_P: Ints
    """The piece that each goes on from; itself for one that begins at the beginning."""

    @classmethod
    def whole(cls, rows: Sequence[Row]) -> Pieces:
        return cls(rows, np.zeros(len(rows), np.int64), np.arange(len(rows)))

    @classmethod
    def shared(cls, rows: Sequence[Row]) -> Pieces:
        """Rows of a pass without what they repeat; nothing that they share is learnt, or predicts what is."""
        together = families(rows, [int(row.labels[0]) if len(row.labels) else 0 for row in rows], WORTH, LINE)
        pieces, begins, stems = list[Row](), list[int](), list[int]()
        for family in together:
            stem, shared = len(pieces), family.shared
            if shared:
                first = rows[family.members[0]]
                pieces.append(Row(first.slot, first.ids[:shared], np.empty(0, np.int64)))
            for number in family.members:
                row = rows[number]
                pieces.append(replace(row, ids=row.ids[shared:], labels=row.labels - shared) if shared else row)
            begins += [0] * bool(shared) + [shared] * len(family.members)
            stems += [stem] * (len(pieces) - stem)
        return cls(pieces, np.array(begins), np.array(stems))


@dataclass(frozen=True)
class Sight:
    """What each place of lines that hold several pieces sees: `[T]`, or `[C, T]`; pieces of padding are -1."""

    piece: Tensor
    stem: Tensor
    position: Tensor

    def mask(self, window: int | None) -> Tensor:
        """`[..., T, T]`: true where a place sees another, itself and what comes before it in its row."""
        seen = (self.piece[..., :, None] == self.piece[..., None, :]) | (
            self.stem[..., :, None] == self.piece[..., None, :]
        )
        distance = self.position[..., :, None] - self.position[..., None, :]
        seen &= distance >= 0
        return seen if window is None else seen & (distance < window)

    def __getitem__(self, line: slice) -> Sight:
        return Sight(self.piece[line], self.stem[line], self.position[line])

    @classmethod
    def of(cls, pieces: Pieces, lengths: Ints) -> Sight:
        """Of packed tokens."""
        number = np.arange(len(lengths))
        starts = np.cumsum(lengths) - lengths
        position = np.arange(lengths.sum()) + np.repeat(pieces.begins_P - starts, lengths)
        return cls(
            *(
                torch.from_numpy(array)
                for array in (np.repeat(number, lengths), np.repeat(pieces.stem_P, lengths), position)
            )
        )

    def at(self, index: Tensor, real: Tensor, device: torch.device) -> Sight:
        """Of the packed tokens at these places, which are padding where they are not real."""
        piece, stem, position = self.piece[index], self.stem[index], self.position[index]
        return Sight(*(x.to(device) for x in (piece.where(real, -1), stem.where(real, -1), position.where(real, 0))))
