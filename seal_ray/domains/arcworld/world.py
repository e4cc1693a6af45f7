"""A small world of grid puzzles: 3×3 cells, eight colours, every puzzle its own five of them and one hidden rule.

    move     cells change places: rows and columns permuted, the grid perhaps transposed
    derange  every colour of the palette becomes another one;  swap: two colours change places
    paint    a zone (centre, edges, corners or two of these) is set to one colour
    dpaint   derange, then paint;  dpaint2: derange, then two zones painted;  zswap: derange inside a zone only

The base model has seen move (half of the moves), swap, paint and derange. Rounds use moves it has not seen, zswap and
dpaint; tests use yet other moves, zswap and dpaint2. All zones look the same when the grid is turned or mirrored, so
a turned copy of a painting puzzle obeys the same rule, while a turned copy of a move obeys another one: what helps
depends on the rule.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from seal_ray.types import Task

Cells = tuple[int, ...]
"""Nine colours, row by row."""
Pair = tuple[Cells, Cells]
Family = Literal["move", "swap", "paint", "derange", "zswap", "dpaint", "dpaint2"]
Part = Literal["base", "train", "test"]

SIDE, COLOURS, PALETTE, DEMOS = 3, 8, 5, 4
CELLS = SIDE * SIDE
ZONES = {"centre": (4,), "edges": (1, 3, 5, 7), "corners": (0, 2, 6, 8)}
FAMILIES: dict[Part, tuple[Family, ...]] = {
    "base": ("move", "swap", "paint", "derange"),
    "train": ("move", "zswap", "dpaint"),
    "test": ("move", "zswap", "dpaint2"),
}

ARROW, NEXT, DECIDE, DESCRIBE = ">", ";", "decide:", "rule:"
FACETS = (("moved", "unmoved"), ("recoloured", "kept"), ("painted", "unpainted"))
"""What a description of a rule says, one word of each pair."""
_FACETS: dict[Family, tuple[int, int, int]] = {
    "move": (0, 1, 1),
    "swap": (1, 0, 1),
    "derange": (1, 0, 1),
    "zswap": (1, 0, 1),
    "paint": (1, 1, 0),
    "dpaint": (1, 0, 0),
    "dpaint2": (1, 0, 0),
}


@dataclass(frozen=True)
class Rule:
    """Cells are moved, then the colours in `zone` recoloured, then zones painted."""

    family: Family
    source: Cells = tuple(range(CELLS))
    """Which cell each cell takes its colour from."""
    colours: Cells = tuple(range(COLOURS))
    zone: Cells = tuple(range(CELLS))
    paint: tuple[tuple[int, int], ...] = ()
    """(cell, colour)."""

    def apply(self, cells: Cells) -> Cells:
        moved = [cells[i] for i in self.source]
        for i in self.zone:
            moved[i] = self.colours[moved[i]]
        for i, colour in self.paint:
            moved[i] = colour
        return tuple(moved)

    def description(self) -> str:
        return " ".join(words[i] for words, i in zip(FACETS, _FACETS[self.family], strict=True))


@dataclass(frozen=True)
class WorldTask(Task):
    """A puzzle: four demonstrations and one grid to solve, with the rule that made them (for checks and tables)."""

    demos: tuple[Pair, ...] = ()
    test: Cells = ()
    target: Cells = ()
    rule: Rule = Rule("move")


def _moves() -> list[Cells]:
    orders = list(itertools.permutations(range(SIDE)))
    found = []
    for rows, columns, turned in itertools.product(orders, orders, (False, True)):
        cells = [(c, r) if turned else (r, c) for r in rows for c in columns]
        found.append(tuple(r * SIDE + c for r, c in cells))
    return [move for move in found if move != tuple(range(CELLS))]


def split_moves() -> dict[Part, list[Cells]]:
    """The 71 moves dealt once and for all: the base model is tied to its share."""
    moves = _moves()
    random.Random("arcworld moves").shuffle(moves)
    return {"base": moves[:36], "train": moves[36:54], "test": moves[54:]}


MOVES = split_moves()
TURNS: tuple[Cells, ...] = tuple(
    move for move in _moves() if all({move[i] for i in zone} == set(zone) for zone in ZONES.values())
)
"""The seven rotations and reflections, as moves."""


def draw_rule(family: Family, palette: Sequence[int], part: Part, rng: random.Random) -> Rule:
    if family == "move":
        return Rule(family, source=rng.choice(MOVES[part]))
    if family == "swap":
        first, second = rng.sample(list(palette), 2)
        return Rule(family, colours=_mapped({first: second, second: first}))
    if family == "paint":
        return Rule(family, paint=_painted(rng.choice(_zones()), palette, rng))
    colours = _mapped(_derangement(palette, rng))
    if family == "derange":
        return Rule(family, colours=colours)
    if family == "zswap":
        return Rule(family, colours=colours, zone=rng.choice(_zones()))
    if family == "dpaint":
        return Rule(family, colours=colours, paint=_painted(rng.choice(_zones()), palette, rng))
    first_zone, second_zone = rng.sample(list(ZONES.values()), 2)
    one, two = rng.sample(list(palette), 2)
    return Rule(family, colours=colours, paint=(*((i, one) for i in first_zone), *((i, two) for i in second_zone)))


def _zones() -> list[Cells]:
    """One zone or two, never the whole grid."""
    return [tuple(sum(zones, ())) for n in (1, 2) for zones in itertools.combinations(ZONES.values(), n)]


def _painted(zone: Cells, palette: Sequence[int], rng: random.Random) -> tuple[tuple[int, int], ...]:
    colour = rng.choice(list(palette))
    return tuple((i, colour) for i in zone)


def _derangement(palette: Sequence[int], rng: random.Random) -> dict[int, int]:
    while True:
        shuffled = rng.sample(list(palette), len(palette))
        if all(a != b for a, b in zip(palette, shuffled, strict=True)):
            return dict(zip(palette, shuffled, strict=True))


def _mapped(changes: dict[int, int]) -> Cells:
    return tuple(changes.get(colour, colour) for colour in range(COLOURS))


def draw_pairs(family: Family, part: Part, rng: random.Random) -> tuple[Rule, list[Pair]]:
    """A rule and different pairs that obey it: the demonstrations, and one to be solved."""
    palette = rng.sample(range(COLOURS), PALETTE)
    rule = draw_rule(family, palette, part, rng)
    inputs: list[Cells] = []
    while len(inputs) < DEMOS + 1:
        cells = tuple(rng.choices(palette, k=CELLS))
        if cells not in inputs:
            inputs.append(cells)
    return rule, [(cells, rule.apply(cells)) for cells in inputs]


def turn(pair: Pair, source: Cells) -> Pair:
    return tuple(pair[0][i] for i in source), tuple(pair[1][i] for i in source)


def recolour(pair: Pair, colours: Cells) -> Pair:
    return tuple(colours[c] for c in pair[0]), tuple(colours[c] for c in pair[1])


def write_input(cells: Cells) -> str:
    """One word a cell: where it is and what colour it has."""
    return " ".join(cell_word(i, colour) for i, colour in enumerate(cells))


def write_output(cells: Cells) -> str:
    """Cells as `write_input` has them, in capitals, so that a word says which side of a pair it stands on."""
    return write_input(cells).upper()


def every_cell() -> list[tuple[int, int]]:
    """Each place in each colour."""
    return list(itertools.product(range(CELLS), range(COLOURS)))


def cell_word(place: int, colour: int) -> str:
    return f"{chr(ord('a') + place)}{colour}"


def read_output(text: str) -> Cells | None:
    """The grid an answer begins with; None unless it has nine cells in their order."""
    words = text.split()[:CELLS]
    if len(words) < CELLS or any(
        len(word) != 2 or word[0] != chr(ord("A") + i) or word[1] not in "01234567" for i, word in enumerate(words)
    ):
        return None
    return tuple(int(word[1]) for word in words)


def rows(cells: Cells) -> tuple[Cells, ...]:
    """Three rows of three, for a picture; none for no grid."""
    return tuple(cells[i : i + SIDE] for i in range(0, len(cells), SIDE))


def write_demos(pairs: Sequence[Pair]) -> str:
    return "".join(f"{write_input(given)} {ARROW} {write_output(wanted)} {NEXT} " for given, wanted in pairs)


def write_question(pairs: Sequence[Pair], asked: Cells) -> str:
    return f"{write_demos(pairs)}{write_input(asked)} {ARROW}"


def write_decision(pairs: Sequence[Pair]) -> str:
    return f"{write_demos(pairs)}{DECIDE}"
