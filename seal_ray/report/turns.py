"""Passages that arrived one after another: what each way learnt, kept and lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from seal_ray.policy.catalogue import catalogue
from seal_ray.policy.lineage import head_of, keeps_apart
from seal_ray.policy.retraction import Retraction, answers, retraction
from seal_ray.record.continual import KL, by_way, orders
from seal_ray.record.contradicted import parts_of
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow, RetractedRow
from seal_ray.types import UserError


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
    kl: float | None
    """How far the last policy's predictions along the first one's answers are from the first one's, in nats a token."""
    tokens: float
    seconds: float
    failed: float
    matrix: tuple[tuple[int, tuple[float, ...]], ...]
    """After so many passages, the accuracy on each of them."""
    contradicted: tuple[Mapping[str, Any], ...]
    """What passages say otherwise than the base knew, or than an earlier one: how much of it was overridden."""


@dataclass(frozen=True)
class Without:
    """A policy with lessons taken out again; accuracies are means over passages."""

    head: str
    base: float
    """Of the passages whose lessons are out, before anything was learnt."""
    had: float
    """Of the same with their lessons, at the end."""
    has: float
    """Of the same without them."""
    others: tuple[float, float] | None
    """Of all others, with those lessons and without; None where there are no others."""
    known: tuple[float, float] | None
    """The same of what the base knew before, where that was asked."""


@dataclass(frozen=True)
class Left:
    """What passages in turn left that somebody may take up."""

    head: str
    """The policy, in the way that keeps most of those that leave one; empty where none does."""
    lesson: str
    """The first lesson that can be taken out again; empty where none can."""
    without: tuple[Without, ...]
    """What was taken out, the earliest first."""


def turns(journal: Journal) -> tuple[Turn, ...]:
    """Every way of which an order was asked to its end, the one that keeps most first."""
    found = []
    for way, row in by_way(orders(journal)).items():
        known = "known before, before", "known before, at the end"
        found.append(
            Turn(
                way=way,
                orders=row["orders"],
                before=row["before"],
                learnt=row["just learnt"],
                kept=row["at the end"],
                interval=row.get("at the end, interval"),
                forgotten=row["forgotten"],
                flipped=row["right, then wrong"],
                known=(row[known[0]], row[known[1]]) if known[0] in row else None,
                kl=row.get(KL),
                tokens=row["tokens"],
                seconds=row["seconds"],
                failed=row["failed"],
                matrix=tuple((step, tuple(values)) for step, values in row["matrix"].items()),
                contradicted=tuple(row.get("contradicted", ())),
            )
        )
    return tuple(found)


def passages(found: Sequence[Turn]) -> int:
    """How many passages came in each order."""
    return len(found[0].matrix[0][1]) if found else 0


def contradicted(found: Sequence[Turn]) -> Sequence[Mapping[str, Any]]:
    """The parts of what passages say otherwise, each with how firmly it was known."""
    return parts_of(turn.contradicted for turn in found)


def left(journal: Journal, found: Sequence[Turn]) -> Left:
    """The policy that can be exported, the lesson that can be taken out, and what was taken out already."""
    ranks = {turn.way: rank for rank, turn in enumerate(found)}
    held = catalogue(journal)
    used = {parent for each in held for parent in each.parents}
    policies: list[LearntRow] = []
    lessons: list[str] = []
    for each in held:
        if not isinstance(each.row, LearntRow) or each.row.way not in ranks:
            continue
        if each.kind == "policy":
            policies.append(each.row)
        elif each.parents and (each.name in used or keeps_apart(each.row.way)):
            lessons.append(each.name)
    best = min(policies, key=lambda row: ranks[row.way], default=None)
    return Left(head_of(best) if best else "", lessons[0] if lessons else "", tuple(_without(journal)))


def _without(journal: Journal) -> Iterator[Without]:
    rows = sorted(journal.read(RetractedRow), key=lambda row: row.version)
    asked = answers(journal) if rows else {}
    for row in rows:
        try:
            yield _told(retraction(journal, row, asked))
        except UserError:  # of a way that is one's own and not at hand: all else on the page is to be had still
            continue


def _told(found: Retraction) -> Without:
    out = [each for each in found.passages if each.out]
    rest = [each for each in found.passages if not each.out]
    return Without(
        found.head,
        fmean(each.base for each in out),
        fmean(each.learnt for each in out),
        fmean(each.without for each in out),
        (fmean(each.learnt for each in rest), fmean(each.without for each in rest)) if rest else None,
        found.known_before,
    )
