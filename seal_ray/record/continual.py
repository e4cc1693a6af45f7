"""What passages that arrived one after another left behind: learnt, kept and lost, by the way they entered."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from seal_ray.record.contradicted import Fact, by_firmness, facts, print_contradicted
from seal_ray.record.journal import Journal
from seal_ray.record.rows import MERGE, ContradictedRow, LearntRow, OutcomeRow, PlannedRow
from seal_ray.record.summary import FEWEST, interval
from seal_ray.types import UserError

if TYPE_CHECKING:
    from seal_ray.config import Continual

CONTINUAL = "continual"
"""The stage in which passages arrive one after another."""
ELSEWHERE = "continual, known before"
"""What the base knew before, asked meanwhile."""
KL = "KL from the first policy, nats a token"
"""Of all that is predicted along the first policy's answers, in `Order.figures`."""
FOUND = "questions that find their own lesson"
"""Of all that were asked at the end, in `Order.figures`; of ways whose lessons answer by themselves."""
_SHOWN = 12
"""Passages of which the accuracies themselves are shown on a terminal."""
RIGHT = 0.5
"""From this probability on an answer counts as right where one has to decide."""
_ARM = re.compile(r"sequence (\d+)(?: by (.+?))?(?:, after (\d+)| without [\d, ]+)")


def arm_of(head: str, step: int) -> str:
    """What a measurement of a sequence is called."""
    return f"{head}, after {step}"


def way_of(arm: str) -> str:
    """The way in which a measurement's sequence learns."""
    found = _ARM.fullmatch(arm)
    return (found[2] if found else None) or MERGE


def trials_of(config: Continual, elsewhere: int) -> dict[str, int]:
    """How many trials each stage has over all sequences; `elsewhere` counts the tasks of what the base knew before."""
    streams = config.sequences * len(config.ways)
    whole = sum(asks_all(config.ask_every, config.passages, step) for step in range(config.passages + 1))
    each = whole * config.passages + config.passages + 1 - whole
    found = {f"{CONTINUAL}: trials": streams * each, f"{ELSEWHERE}: trials": streams * whole * elsewhere}
    return {stage: pieces for stage, pieces in found.items() if pieces}


def asks_all(every: int, passages: int, step: int) -> bool:
    """Whether everything is asked after so many passages."""
    return step % every == 0 or step == passages


@dataclass
class Asked:
    """Answers to one passage's questions, or to several trials' share of them."""

    verdicts: list[float] = field(default_factory=list)
    failed: int = 0
    trials: int = 0

    def add(self, row: OutcomeRow) -> None:
        self.verdicts += row.verdicts or (row.reward or 0.0,)
        self.failed += bool(row.failure)
        self.trials += 1

    @property
    def accuracy(self) -> float:
        return fmean(self.verdicts)


@dataclass(frozen=True)
class Order:
    """One order of passages, learnt in one way."""

    way: str
    number: int
    asked: dict[int, dict[int, Asked]]
    """After so many passages, by the passage's place in the order: what was asked then."""
    elsewhere: dict[int, list[Asked]]
    """After so many passages: what the base knew before."""
    learnt: frozenset[int]
    """The passages, counted from 1, at which anything was learnt."""
    tokens: int
    """Trained on, in all."""
    seconds: float
    moved: float | None = None
    """How much less likely at the end the first policy's own answers are, and plain texts, in nats a token."""
    plain: float | None = None
    diverged: float | None = None
    """How far the last policy's predictions along those answers are from the first one's, as `KL(first ‖ last)`."""
    found: float | None = None
    """The share of questions that find their own lesson at the end."""
    contradictions: Sequence[ContradictedRow] = ()

    @property
    def contradicted(self) -> list[Fact]:
        """The facts that its passages contradict; not of passages whose questions several lessons share."""
        end = self.asked[self.passages]
        alone = {place: asked.verdicts for place, asked in end.items() if asked.trials == 1}
        right = {(place, n): is_ >= RIGHT for place, found in alone.items() for n, is_ in enumerate(found)}
        return list(facts(self.contradictions, right))

    @property
    def passages(self) -> int:
        return max(self.asked[0]) + 1

    @property
    def steps(self) -> list[int]:
        """After how many passages all of them were asked."""
        return [step for step, row in sorted(self.asked.items()) if len(row) == self.passages]

    def just(self, place: int) -> Asked:
        """A passage as it was first asked once it, or anything after it, had been learnt."""
        since = min((step for step in self.learnt if step > place), default=place + 1)
        return next(row[place] for step, row in sorted(self.asked.items()) if step >= since and place in row)

    def figures(self) -> dict[str, float]:
        """What was learnt, kept and lost; means over the passages."""
        places, end = range(self.passages), self.asked[self.steps[-1]]
        later = [[row[i].accuracy for step, row in self.asked.items() if step > i and i in row] for i in places]
        just = fmean(self.just(i).accuracy for i in places)
        kept = fmean(end[i].accuracy for i in places)
        found = {
            "before": fmean(self.asked[0][i].accuracy for i in places),
            "just learnt": just,
            "at the end": kept,
            "backward transfer": kept - just,
            "forgotten": fmean(max(values) - end[i].accuracy for i, values in enumerate(later)),
            "right, then wrong": fmean(_flipped(self.just(i), end[i]) for i in places),
            "the first, just learnt": self.just(0).accuracy,
            "the first, at the end": end[0].accuracy,
            "failed": _share_failed(asked for row in self.asked.values() for asked in row.values()),
        }
        if self.elsewhere:
            first, last = (fmean(a.accuracy for a in self.elsewhere[step]) for step in (0, self.steps[-1]))
            found |= {"known before, before": first, "known before, at the end": last}
        far = {"moved, nats a token": self.moved, "plain texts, nats a token": self.plain, KL: self.diverged}
        far[FOUND] = self.found
        found |= {name: value for name, value in far.items() if value is not None}
        return found


def orders(journal: Journal) -> list[Order]:
    """Every order that was asked to its end; where a run went on with more passages, to the later end."""
    planned = [row for row in journal.read(PlannedRow) if row.stage in (CONTINUAL, ELSEWHERE)]
    if not planned:
        return []  # answers of a run without sequences are many, and none of them is read
    ended = {row.key: row for row in journal.read(OutcomeRow)}
    asked: dict[tuple[str, int], dict[str, Any]] = {}
    for place in planned:
        found = _ARM.fullmatch(place.arm)
        if not found or place.trial not in ended:
            continue
        key, step = (found[2] or MERGE, int(found[1])), int(found[3])
        held = asked.setdefault(key, {CONTINUAL: defaultdict(dict), ELSEWHERE: defaultdict(dict)})
        held[place.stage][step].setdefault(place.index, Asked()).add(ended[place.trial])
    learnt: dict[tuple[str, int], list[LearntRow]] = defaultdict(list)
    for row in journal.read(LearntRow):
        learnt[row.way, row.sequence].append(row)
    contradicted: dict[int, list[ContradictedRow]] = defaultdict(list)
    for said in journal.read(ContradictedRow):
        contradicted[said.sequence].append(said)
    passages = max((len(held[CONTINUAL][0]) for held in asked.values()), default=0)
    return [
        Order(
            *key,
            dict(held[CONTINUAL]),
            {step: list(row.values()) for step, row in held[ELSEWHERE].items()},
            frozenset(row.step for row in learnt[key]),
            sum(row.tokens for row in learnt[key]),
            sum(row.seconds for row in learnt[key]),
            *_last(learnt[key]),
            contradicted[key[1]],
        )
        for key, held in asked.items()
        if _is_whole(held, passages)
    ]


def _last(rows: Sequence[LearntRow]) -> tuple[float | None, float | None, float | None, float | None]:
    """How far a stream's last policy is from its first, and which share of the questions finds its own lesson in it.

    One that learnt nothing is where it was. A passage whose training failed has been measured too: in a library
    questions that find it are no other lesson's.
    """
    measured = (row for row in rows if row.learned or row.moved is not None or row.plain is not None)
    last = max(measured, key=lambda row: row.step, default=None)
    return (last.moved, last.plain, last.diverged, last.found) if last else (0.0, 0.0, 0.0, None)


def _is_whole(held: dict[str, dict[int, dict[int, Asked]]], passages: int) -> bool:
    """Whether so many passages were asked at the beginning and at the end, and all that was known before as well."""
    begun, end = ({stage: len(steps.get(step, ())) for stage, steps in held.items()} for step in (0, passages))
    return begun == end and begun[CONTINUAL] == passages


def by_way(found: Sequence[Order]) -> dict[str, dict[str, Any]]:
    """For each way the means over its orders, with an interval where there are enough, and the mean matrix.

    The way that keeps most comes first. Orders of unlike lengths are refused.
    """
    if len(lengths := sorted({order.passages for order in found})) > 1:
        said = " and of ".join(map(str, lengths))
        raise UserError(f"these orders are of {said} passages; take runs of one continual.passages together")
    table: dict[str, dict[str, Any]] = {}
    for way in dict.fromkeys(order.way for order in found):
        some = [order for order in found if order.way == way]
        figures = [order.figures() for order in some]
        row: dict[str, Any] = {
            name: fmean(each[name] for each in figures) for name in figures[0] if all(name in each for each in figures)
        }
        if len(some) >= FEWEST:
            kept = interval([each["at the end"] for each in figures])
            row["at the end, interval"] = (kept.low, kept.high)
        row |= {"orders": len(some), "tokens": fmean(order.tokens for order in some)}
        row |= {"seconds": fmean(order.seconds for order in some), "matrix": _matrix(some)}
        if parts := by_firmness(fact for order in some for fact in order.contradicted):
            row["contradicted"] = parts
        table[way] = row
    return dict(sorted(table.items(), key=lambda each: (-each[1]["at the end"], each[0])))


def _matrix(some: Sequence[Order]) -> dict[int, list[float]]:
    """After so many passages, the accuracy on each of them; means over orders."""
    steps = [step for step in some[0].steps if all(step in order.asked for order in some)]
    places = range(some[0].passages)
    return {step: [fmean(order.asked[step][i].accuracy for order in some) for i in places] for step in steps}


def _flipped(before: Asked, after: Asked) -> float:
    """The share of a passage's questions that were answered rightly, and are no longer.

    Where the questions are not in the same order, as other lessons answer them then, no fewer than that.
    """
    if before.trials == after.trials == 1 and len(before.verdicts) == len(after.verdicts):
        pairs = zip(before.verdicts, after.verdicts, strict=True)
        return fmean(float(was >= RIGHT > now) for was, now in pairs)
    return max(0.0, before.accuracy - after.accuracy)


def _share_failed(all_asked: Iterable[Asked]) -> float:
    counts = [(asked.failed, asked.trials) for asked in all_asked]
    return sum(failed for failed, _ in counts) / sum(trials for _, trials in counts)


def print_continual(table: dict[str, dict[str, Any]]) -> None:
    """A line for each way, and of few passages the accuracies themselves."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    known = ["known before"] if any("known before, at the end" in row for row in table.values()) else []
    narrow = (Column(name, no_wrap=True) for name in ("in turn", "learnt", "kept", "forgotten"))
    kl = ["KL"] if any(KL in row for row in table.values()) else []
    shown = Table(
        *narrow, *known, *kl, "tokens", box=box.SIMPLE, show_edge=False, pad_edge=False, collapse_padding=True
    )
    for way, row in table.items():
        end = f"{row['at the end']:.1%}"
        if "at the end, interval" in row:
            end += " ({:.1f}–{:.1f})".format(*(100 * bound for bound in row["at the end, interval"]))
        cells = [f"{row['just learnt']:.1%}", end, f"{row['forgotten']:.1%}"]
        cells += [f"{row['known before, at the end']:.1%}"] if known else []
        cells += [f"{row[KL]:.2f}" if KL in row else "–"] if kl else []
        shown.add_row(way, *cells, f"{row['tokens']:.0f}")
    Console().print(shown)
    print_contradicted(table)
    for way, row in table.items():
        if FOUND in row:
            print(f"{way}: {row[FOUND]:.1%} of the questions find their own lesson")
        if row["failed"]:
            print(f"{way}: {row['failed']:.1%} of its trials failed and count as 0")
        if len(row["matrix"]) <= _SHOWN + 1:
            _print_matrix(way, row["matrix"])


def _print_matrix(way: str, matrix: dict[int, list[float]]) -> None:
    """One line for each number of passages; those that are learnt by then stand before the bar."""
    print(f"{way}: accuracy on each passage (columns) after each number of passages (rows)")
    for step, row in matrix.items():
        cells = [f"{value:6.1%}" for value in row]
        print(f"{step:3}  {' '.join(cells[:step])} | {' '.join(cells[step:])}")
