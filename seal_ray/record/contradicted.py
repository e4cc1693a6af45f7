"""How much of what was known, or said before, later passages override: by how firmly the base held it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from seal_ray.record.rows import ContradictedRow

THIRDS = ("least firm", "between", "most firm")
EARLIER = "an earlier passage"


@dataclass(frozen=True)
class Fact:
    """A fact that a passage says otherwise than before, and whether it was answered as that passage says at the end."""

    firmness: float | None
    """None where an earlier passage had said it."""
    right: bool


def facts(rows: Sequence[ContradictedRow], right: Mapping[tuple[int, int], bool]) -> Iterator[Fact]:
    """The facts of an order that no later passage contradicts again; `right` says how each question was answered."""
    gone = {(row.earlier, row.earlier_question) for row in rows}
    for row in rows:
        at = row.place, row.question
        if at in right and at not in gone:
            yield Fact(row.firmness, right[at])


def by_firmness(found: Iterable[Fact]) -> list[dict[str, Any]]:
    """The share that was overridden, by thirds of what the base knew, and of what an earlier passage had said."""
    found = list(found)
    known = sorted((fact for fact in found if fact.firmness is not None), key=lambda fact: fact.firmness or 0.0)
    third = -(-len(known) // len(THIRDS))
    parts = {name: known[at * third : (at + 1) * third] for at, name in enumerate(THIRDS)}
    parts[EARLIER] = [fact for fact in found if fact.firmness is None]
    return [
        {
            "what": name,
            "facts": len(some),
            "firmness": fmean(fact.firmness or 0.0 for fact in some) if name != EARLIER else None,
            "overridden": fmean(fact.right for fact in some),
        }
        for name, some in parts.items()
        if some
    ]


def parts_of(all_told: Iterable[Sequence[Mapping[str, Any]]]) -> Sequence[Mapping[str, Any]]:
    """The parts that are told of any way, as the one says them of which most are."""
    return max(all_told, key=len, default=())


def print_contradicted(table: Mapping[str, Mapping[str, Any]]) -> None:
    """A line for each way, a column for each part."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not (parts := parts_of(row.get("contradicted", ()) for row in table.values())):
        return
    shown = Table("overridden", *map(heading, parts), box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    for way, row in table.items():
        told = {part["what"]: f"{part['overridden']:.1%}" for part in row.get("contradicted", ())}
        shown.add_row(way, *(told.get(part["what"], "–") for part in parts))
    Console().print(shown)


def heading(part: Mapping[str, Any]) -> str:
    """The title of a part, with how probable the base held its facts to be on average."""
    return part["what"] if part["firmness"] is None else f"{part['what']} ({part['firmness']:.1%})"
