"""Augmentations of grids, and what undoes each of them.

Every augmentation is applied to inputs and outputs alike. It is plain data that prints as its name, `Rotate(90)`.
The random ones (`Recolour`, `Translate`) carry what was drawn, so that drawing is all that needs a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seal_ray.domains.arc.grids import COLOURS
from seal_ray.types import DataError


class Augment(Protocol):
    def apply(self, array_HW: np.ndarray) -> np.ndarray: ...

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        """Undo `apply`; `DataError` when the grid's shape cannot have come from it."""
        ...


@dataclass(frozen=True)
class Identity:
    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        return array_HW

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        return array_HW

    def __str__(self) -> str:
        return "IdentityAugmenter()"


@dataclass(frozen=True)
class Rotate:
    degrees: int
    """Anticlockwise: 90, 180 or 270."""

    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        return np.rot90(array_HW, self.degrees // 90)

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        return np.rot90(array_HW, -self.degrees // 90)

    def __str__(self) -> str:
        return f"Rotate({self.degrees})"


@dataclass(frozen=True)
class Flip:
    axis: int

    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        return np.flip(array_HW, self.axis)

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        return np.flip(array_HW, self.axis)

    def __str__(self) -> str:
        return f"Flip({self.axis})"


@dataclass(frozen=True)
class Transpose:
    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        return array_HW.T

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        return array_HW.T

    def __str__(self) -> str:
        return "Transpose()"


@dataclass(frozen=True)
class Reflect:
    """The grid beside its mirror image; `reverse` puts the image first."""

    axis: int
    reverse: bool = False

    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        pair = [array_HW, np.flip(array_HW, self.axis)]
        return np.concatenate(pair[::-1] if self.reverse else pair, self.axis)

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        return _part(array_HW, self.axis, 2, 1 if self.reverse else 0)

    def __str__(self) -> str:
        return f"Reflect({self.axis}, reverse={self.reverse})"


@dataclass(frozen=True)
class Enlarge:
    """Every cell becomes a block of cells."""

    height: int
    width: int

    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        return array_HW.repeat(self.height, 0).repeat(self.width, 1)

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        if array_HW.shape[0] % self.height or array_HW.shape[1] % self.width:
            raise DataError(f"{self}: a grid of {array_HW.shape} has no such blocks")
        return array_HW[:: self.height, :: self.width]

    def __str__(self) -> str:
        if self.height == self.width:
            return f"IncreaseResolution({self.height})"
        return f"IncreaseHeight({self.height})" if self.width == 1 else f"IncreaseWidth({self.width})"


@dataclass(frozen=True)
class Repeat:
    """The grid laid beside itself along an axis, or along both (axis 2)."""

    axis: int
    times: int

    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        return np.tile(array_HW, [self.times if self.axis in (axis, 2) else 1 for axis in (0, 1)])

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            if self.axis in (axis, 2):
                array_HW = _part(array_HW, axis, self.times, 0)
        return array_HW

    def __str__(self) -> str:
        return f"Repeat({self.axis}, {self.times})"


@dataclass(frozen=True)
class Concat:
    """Several augmentations of the grid side by side."""

    parts: tuple[Augment, ...]
    axis: int

    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        return np.concatenate([part.apply(array_HW) for part in self.parts], self.axis)

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        return self.parts[0].invert(_part(array_HW, self.axis, len(self.parts), 0))

    def __str__(self) -> str:
        return f"Concat(({', '.join(map(str, self.parts))}), axis={self.axis})"


@dataclass(frozen=True)
class Chain:
    """One augmentation after another."""

    parts: tuple[Augment, ...]

    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        for part in self.parts:
            array_HW = part.apply(array_HW)
        return array_HW

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        for part in reversed(self.parts):
            array_HW = part.invert(array_HW)
        return array_HW

    def __str__(self) -> str:
        return f"Chain([{', '.join(map(str, self.parts))}])"


@dataclass(frozen=True)
class Translate:
    """Rows and columns shifted, what leaves on one side entering on the other."""

    down: int
    right: int

    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        return np.roll(array_HW, (self.down, self.right), (0, 1))

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        return np.roll(array_HW, (-self.down, -self.right), (0, 1))

    @classmethod
    def draw(cls, rng: np.random.Generator, reach: int = 4) -> Translate:
        return cls(*map(int, rng.integers(0, reach + 1, 2)))


@dataclass(frozen=True)
class Recolour:
    """Colour c becomes `colours[c]`: a permutation."""

    colours: tuple[int, ...]

    def apply(self, array_HW: np.ndarray) -> np.ndarray:
        return np.array(self.colours, dtype=np.uint8)[array_HW]

    def invert(self, array_HW: np.ndarray) -> np.ndarray:
        return np.argsort(self.colours).astype(np.uint8)[array_HW]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Recolour:
        return cls(tuple(map(int, rng.permutation(COLOURS))))


def _part(array_HW: np.ndarray, axis: int, parts: int, index: int) -> np.ndarray:
    if array_HW.shape[axis] % parts:
        raise DataError(f"a grid of {array_HW.shape} does not fall into {parts} parts along axis {axis}")
    return np.split(array_HW, parts, axis)[index]


TURNS: tuple[Augment, ...] = (Rotate(90), Rotate(270), Rotate(180), Flip(0), Flip(1))
REFLECTIONS: tuple[Augment, ...] = tuple(Reflect(axis, reverse) for reverse in (True, False) for axis in (0, 1))
BASIC: tuple[Augment | type[Translate], ...] = (*TURNS, *REFLECTIONS, Translate, Transpose())
"""`Translate` stands for a shift drawn again for each training task."""
SIZE: tuple[Augment, ...] = (Enlarge(2, 2), Enlarge(2, 1), Enlarge(1, 2))
CHAIN: tuple[Augment, ...] = tuple(Chain((turn, Enlarge(2, 2))) for turn in (*TURNS, Transpose()))
REPEAT: tuple[Augment, ...] = tuple(Repeat(axis, 2) for axis in (0, 1, 2))
