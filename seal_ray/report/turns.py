"""Passages that arrived one after another: what each way learnt, kept and lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seal_ray.record.continual import by_way, orders
from seal_ray.record.journal import Journal


@dataclass(frozen=True)
class Turn:
    """One way in which passages entered the policy; shares are means over passages and orders."""

    way: str
    orders: int
    before: float
    learnt: float
    kept: float
    interval: tuple[float, float] | None
    """Of what was kept; None with too few orders."""
    forgotten: float
    flipped: float
    """Share of the questions that were answered rightly once, and no longer at the end."""
    known: tuple[float, float] | None
    """What the base knew before, asked at the beginning and at the end."""
    tokens: float
    seconds: float
    failed: float
    matrix: tuple[tuple[int, tuple[float, ...]], ...]
    """After so many passages, the accuracy on each of them."""


def turns(journal: Journal) -> tuple[Turn, ...]:
    """Every way of which an order was asked to its end, the one that keeps most first."""
    found = []
    for way, row in by_way(orders(journal)).items():
        known = "known before, before", "known before, at the end"
        found.append(
            Turn(
                way,
                row["orders"],
                row["before"],
                row["just learnt"],
                row["at the end"],
                row.get("at the end, interval"),
                row["forgotten"],
                row["right, then wrong"],
                (row[known[0]], row[known[1]]) if known[0] in row else None,
                row["tokens"],
                row["seconds"],
                row["failed"],
                tuple((step, tuple(values)) for step, values in row["matrix"].items()),
            )
        )
    return tuple(found)


def passages(found: Sequence[Turn]) -> int:
    """How many passages came in each order."""
    return len(found[0].matrix[0][1]) if found else 0
