"""How well a grader agrees with recorded verdicts, answer by answer and as a reward."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from seal_ray import grading
from seal_ray.grading.base import Grader, Item, judged
from seal_ray.published.read import Record, read_record
from seal_ray.types import DataError, UserError


@dataclass(frozen=True)
class Row:
    """One recorded verdict and where it belongs: an answer with the adapter, or the base model's own."""

    item: Item
    right: bool
    passage: int
    completion: int
    adapted: bool


def recorded_rows(record: Record) -> list[Row]:
    """Every verdict of a record, on the answers with the adapter and without."""
    rows = []
    for p, passage in enumerate(record.passages):
        for c, completion in enumerate(passage.completions):
            for v in completion.verdicts:
                adapted = Item(v.question, v.gold, v.adapter_answer, passage.title)
                plain = Item(v.question, v.gold, v.baseline_answer, passage.title)
                rows.append(Row(adapted, v.adapter_correct, p, c, True))
                rows.append(Row(plain, v.baseline_correct, p, c, False))
    return rows


def grade_records(path: str | Path, grader: str | Grader = "offline", passages: int = 0) -> dict[str, float]:
    """What `agreement` says of a grader on a recorded round, or on its first passages alone.

    A grader is given as itself or by its name.
    """
    record = read_record(path)
    rows = recorded_rows(replace(record, passages=record.passages[: passages or None]))
    if not rows:
        raise UserError(f"{path}: holds no verdicts to agree with; give a ranked or evaluated round")
    judge = grading.load(grader) if isinstance(grader, str) else grader
    distinct = list(dict.fromkeys(row.item for row in rows))
    try:
        given = dict(zip(distinct, asyncio.run(judged(judge, distinct)), strict=True))
    except DataError as error:
        raise UserError(f"{path}: not graded: {error}") from None
    return agreement(rows, [given[row.item] for row in rows])


def agreement(rows: Sequence[Row], verdicts: Sequence[float]) -> dict[str, float]:
    """`agreement` and `kappa` at one half, over all rows; `distinct_…` over distinct (question, gold, answer).

    `reward_bias` is the mean verdict less the recorded one. `gain_kept` is how much of the recorded best-of-n gain
    is had by choosing each passage's self-edit by these verdicts; left out where there is nothing to choose.
    """
    right = [row.right for row in rows]
    said = [verdict >= 0.5 for verdict in verdicts]
    first = {(row.item.question, row.item.gold, row.item.answer): n for n, row in reversed(list(enumerate(rows)))}
    one_each = sorted(first.values())
    kept = _gain_kept(rows, verdicts)
    return {
        "agreement": _share_equal(said, right),
        "kappa": _kappa(said, right),
        "reward_bias": fmean(verdicts) - fmean(right),
        "n": len(rows),
        "distinct_agreement": _share_equal([said[n] for n in one_each], [right[n] for n in one_each]),
        "distinct_kappa": _kappa([said[n] for n in one_each], [right[n] for n in one_each]),
        "distinct_n": len(one_each),
        **({"gain_kept": kept} if kept is not None else {}),
    }


def _share_equal(said: Sequence[bool], right: Sequence[bool]) -> float:
    return fmean(a == b for a, b in zip(said, right, strict=True))


def _kappa(said: Sequence[bool], right: Sequence[bool]) -> float:
    """Agreement beyond what chance would give two raters with these shares of yes."""
    p, q = fmean(said), fmean(right)
    chance = p * q + (1 - p) * (1 - q)
    return (_share_equal(said, right) - chance) / (1 - chance) if chance < 1 else 1.0


def _gain_kept(rows: Sequence[Row], verdicts: Sequence[float]) -> float | None:
    edits: dict[int, dict[int, list[tuple[float, float]]]] = {}
    for row, verdict in zip(rows, verdicts, strict=True):
        if row.adapted:
            edits.setdefault(row.passage, {}).setdefault(row.completion, []).append((verdict, float(row.right)))
    gained = possible = 0.0
    for each in edits.values():
        ours = [fmean(verdict for verdict, _ in pairs) for pairs in each.values()]
        theirs = [fmean(right for _, right in pairs) for pairs in each.values()]
        gained += theirs[ours.index(max(ours))] - fmean(theirs)
        possible += max(theirs) - fmean(theirs)
    return gained / possible if possible > 0 else None
