"""What the policy wrote, version by version: how long, how varied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import pyarrow as pa
import pyarrow.compute as pc

from seal_ray.record.hints import ADVICE
from seal_ray.record.rows import SelfEditRow
from seal_ray.record.variety import ORDERS, distinct, words

_WORDS = 20_000


@dataclass(frozen=True)
class Writing:
    policy: int
    self_edits: int
    tokens: float
    """Mean length."""
    cut_off: float
    """Share that met the token limit."""
    repeated: float
    """Share that equals, word for word, an earlier one of this version."""
    distinct: dict[int, float]
    """Share of n-grams that are new where they stand, by n, over the first `words` words."""
    words: int
    """How many words were looked at: as many in every version, since a longer text repeats itself more."""


def writing(self_edits: pa.Table) -> tuple[tuple[Writing, ...], bool]:
    """The statistics of each version, and whether they are of held-out tasks, which all versions have in common."""
    held_out = self_edits.filter(pc.equal(self_edits["stage"], "evaluation"))
    others = self_edits.filter(pc.invert(pc.starts_with(self_edits["stage"], ADVICE)))
    table = held_out if len(held_out) else others
    rows: dict[int, list[SelfEditRow]] = {}
    for row in SelfEditRow.each(table.drop_columns(["prompt"])):
        rows.setdefault(row.policy, []).append(row)
    said = {policy: _words(found) for policy, found in rows.items()}
    common = min((len(found) for found in said.values()), default=0)
    found = [_writing(policy, rows[policy], said[policy][:common]) for policy in sorted(rows)]
    return tuple(found), bool(len(held_out))


def _writing(policy: int, rows: Sequence[SelfEditRow], said: list[str]) -> Writing:
    return Writing(
        policy,
        len(rows),
        fmean(row.tokens for row in rows),
        fmean(not row.finished for row in rows),
        1 - len({row.completion for row in rows}) / len(rows),
        {n: distinct([said], n) or 0.0 for n in ORDERS},
        len(said),
    )


def _words(rows: Iterable[SelfEditRow]) -> list[str]:
    found: list[str] = []
    for row in rows:
        found += words(row.completion)
        if len(found) >= _WORDS:
            break
    return found[:_WORDS]
