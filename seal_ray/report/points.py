"""What self-edits earned, against how long they are and how well their trials fitted them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.report.rounds import Place, Round, place_of

MOST = 2000
"""Points in one picture; of more, every so many-th."""


@dataclass(frozen=True)
class Point:
    at: float
    reward: float
    kept: bool


@dataclass(frozen=True)
class Points:
    by_length: tuple[Point, ...]
    """Tokens of each self-edit of the rounds."""
    by_loss: tuple[Point, ...]
    """The last loss of its trials, the mean over seeds."""
    self_edits: int


def points(
    found: Iterable[Round],
    edits: Iterable[SelfEditRow],
    planned: Iterable[PlannedRow],
    outcomes: Mapping[str, OutcomeRow],
) -> Points:
    """Each self-edit of the rounds that was tried."""
    candidates = [c for round_ in found for c in round_.candidates]
    places = {c.place for c in candidates}
    tokens = {place_of(row): row.tokens for row in edits if place_of(row) in places}
    losses: dict[Place, list[float]] = defaultdict(list)
    for row in planned:
        outcome = outcomes.get(row.trial)
        if outcome and outcome.last_loss is not None and place_of(row) in places:
            losses[place_of(row)].append(outcome.last_loss)
    lengths = [Point(tokens[c.place], c.reward, c.kept) for c in candidates if c.place in tokens]
    fits = [Point(fmean(losses[c.place]), c.reward, c.kept) for c in candidates if losses[c.place]]
    return Points(_thinned(lengths), _thinned(fits), len(candidates))


def _thinned(found: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(found[:: -(-len(found) // MOST) or 1])
