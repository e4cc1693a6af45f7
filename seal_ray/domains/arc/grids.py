"""Coloured grids: what they may be, how they are written into a prompt, and how they are read back from an answer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from seal_ray.types import DataError

COLOURS = 10
MAX_SIDE = 30
END = "#"
"""Closes every grid that follows an arrow; an answer ends here."""

Grid = tuple[tuple[int, ...], ...]

# What was skipped is not given back (`*+`): trying it again in parts would take the square of its length.
_ROW = re.compile(r"\s*+,?\s*+\[([\d,\s]*+)\]")
_CLOSE = re.compile(r"\s*+,?\s*+\]")
_NO_COLOUR = COLOURS


def as_grid(rows: Any, where: str) -> Grid:
    """Rows of colours as a grid; `DataError` names `where` and what is wrong."""
    if not isinstance(rows, list | tuple) or not rows or not all(isinstance(row, list | tuple) and row for row in rows):
        raise DataError(f"{where}: a grid needs at least one row and one column")
    if len({len(row) for row in rows}) > 1:
        raise DataError(f"{where}: ragged rows, of {min(map(len, rows))} to {max(map(len, rows))} cells")
    if max(len(rows), len(rows[0])) > MAX_SIDE:
        raise DataError(f"{where}: {len(rows)}×{len(rows[0])} cells, more than {MAX_SIDE} a side")
    for row in rows:
        for cell in row:
            if type(cell) is not int or not 0 <= cell < COLOURS:
                raise DataError(f"{where}: {cell!r} is no colour from 0 to {COLOURS - 1}")
    return tuple(map(tuple, rows))


def to_array(grid: Grid) -> np.ndarray:
    return np.array(grid, dtype=np.uint8)


def to_grid(array_HW: np.ndarray) -> Grid:
    return tuple(map(tuple, array_HW.tolist()))


def write_array(array_HW: np.ndarray) -> str:
    """`[[0 1]\\n [2 3]]`: one row a line, colours parted by a space."""
    height, width = array_HW.shape
    text_HT = np.full((height, 2 * width + 3), ord(" "), dtype=np.uint8)
    text_HT[:, 1] = ord("[")
    text_HT[0, 0] = ord("[")
    text_HT[:, 2 : 2 * width + 2 : 2] = array_HW + ord("0")
    text_HT[:, 2 * width + 1] = ord("]")
    text_HT[:, 2 * width + 2] = ord("\n")
    text_HT[-1, -1] = ord("]")
    return text_HT.tobytes().decode("ascii")


def write_grid(grid: Grid) -> str:
    return write_array(to_array(grid))


def read_grid(text: str) -> Grid | None:
    """The first grid in an answer, with or without commas, whatever stands around it; None when there is none."""
    start = re.search(r"\[\s*(?=\[)", text)
    if start is None:
        return None
    rows: list[list[int]] = []
    place = start.end()
    while match := _ROW.match(text, place):
        cells = re.findall(r"\d+", match[1])
        if len(cells) > MAX_SIDE or len(rows) == MAX_SIDE:
            return None
        rows.append([int(cell) if len(cell) <= 4 else _NO_COLOUR for cell in cells])
        place = match.end()
    if not _CLOSE.match(text, place):
        return None  # cut off or broken inside a row: nothing to trust
    try:
        return as_grid(rows, "answer")
    except DataError:
        return None


def cell_accuracy(guess: Grid | None, target: Grid) -> float:
    """Share of cells that are right; 0 for a grid of another shape."""
    if guess is None or (len(guess), len(guess[0])) != (len(target), len(target[0])):
        return 0.0
    return float((to_array(guess) == to_array(target)).mean())
