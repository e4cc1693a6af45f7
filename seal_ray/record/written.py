"""What each round's self-edits were like, and what each strategy's gained for its tokens."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from seal_ray.plain import visible
from seal_ray.record.hints import has_hints
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.variety import variety

SCREENING = "screening"
"""The stage in which tasks are measured without training."""
OF_TEXTS = "screening of texts"
"""The stage in which their own text alone is learnt, which is what a strategy's self-edits are to add to."""
ORACLE = "oracle"
"""The stage in which a search tries decisions."""
_TASKS = 200
"""Of a round, whose texts are looked at: texts are many."""
_MORE_ALIKE, _LESS_VARIED = 0.2, 2 / 3
"""A round is warned of when so many more of its self-edits are near duplicates than of round 1's, or when so small a
part of what was new there is."""


@dataclass
class Written:
    """Self-edits of one kind; the texts by task."""

    edits: int = 0
    tokens: int = 0
    texts: dict[tuple[int, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    trials: int = 0
    gains: list[float] = field(default_factory=list)
    """For each self-edit that was tried, its score less what its task scores without a self-edit."""
    tried: int = 0
    """Tokens of those."""

    def as_row(self) -> dict[str, Any]:
        return {"self-edits": self.edits, "tokens": self.tokens / self.edits, **variety(self.texts.values())}

    def as_strategy(self) -> dict[str, Any]:
        paid = sum(self.gains) / max(1, self.tried)
        gain = {"gain": fmean(self.gains), "gain per token": paid} if self.gains else {}
        return {"self-edits": self.edits, "trials": self.trials, "tokens": self.tokens / self.edits, **gain}


def by_round(journals: Sequence[Journal]) -> list[dict[str, Any]]:
    """How varied each round's self-edits were, all together and by strategy, over the tasks of all these runs."""
    found: dict[tuple[int, str], Written] = defaultdict(Written)
    for run, journal in enumerate(journals):
        hinted = has_hints(journal)
        looked_at: dict[int, set[str]] = defaultdict(set)
        for row in journal.read(SelfEditRow):
            if (number := round_number(row.stage)) is None:
                continue
            if len(looked_at[number]) < _TASKS:
                looked_at[number].add(row.task_id)
            for strategy in {"", "" if hinted else row.strategy}:
                each = found[number, strategy]
                each.edits += 1
                each.tokens += row.tokens
                if row.task_id in looked_at[number]:
                    each.texts[run, row.task_id].append(row.completion)
    rows = [{"round": at[0], "strategy": at[1] or None, **found[at].as_row()} for at in sorted(found)]
    first = next((row for row in rows if row["round"] == 1), None)
    # A strategy has more self-edits of a task in one round than in another, and more of them are more alike anyhow.
    return [{**row, "warning": "" if row["strategy"] else more_alike(row, first)} for row in rows]


def more_alike(row: Mapping[str, Any], first: Mapping[str, Any] | None) -> str:
    """A warning for a round whose self-edits are much more alike than the first round's; else empty."""
    same, new = "near duplicates", "distinct pairs"
    if first is None or same not in row or same not in first:
        return ""
    if row[same] < first[same] + _MORE_ALIKE and row[new] > first[new] * _LESS_VARIED:
        return ""
    return (
        f"round {row['round']}: its self-edits are much more alike than those of round 1: {row[same]:.0%} of a task's "
        f"are near duplicates ({first[same]:.0%} then), and {row[new]:.0%} of pairs of words are new ({first[new]:.0%})"
    )


def by_strategy(journals: Sequence[Journal]) -> list[dict[str, Any]]:
    """What each strategy's self-edits gained in all rounds of these runs, the most for its tokens first."""
    found: dict[str, Written] = defaultdict(Written)
    for journal in journals:
        if has_hints(journal):
            continue
        edits = [row for row in journal.read(SelfEditRow) if row.strategy and round_number(row.stage) is not None]
        if edits:
            _add_gains(found, edits, *_trials(journal))
    rows = [{"strategy": name, **written.as_strategy()} for name, written in found.items()]
    return sorted(rows, key=lambda row: -row.get("gain per token", 0.0))


Places = dict[tuple[str, str, int, int], list[OutcomeRow]]
"""Stage, task, index, policy: what came of the trials there."""


def _trials(journal: Journal) -> tuple[Places, dict[tuple[str, int], float]]:
    """The outcomes of trials by their place, and what each task scores under each policy without a self-edit."""
    places: Places = defaultdict(list)
    outcomes = {row.key: row for row in journal.read(OutcomeRow)}
    for row in journal.read(PlannedRow):
        if row.trial in outcomes:
            places[row.stage, row.task_id, row.index, row.policy].append(outcomes[row.trial])
    without = {
        (task, policy): ended[0].reward or 0.0
        for wanted in (SCREENING, OF_TEXTS)  # the second where there is one
        for (stage, task, _, policy), ended in places.items()
        if stage == wanted and not ended[0].failure
    }
    return places, without


def _add_gains(
    found: dict[str, Written], edits: Iterable[SelfEditRow], places: Places, without: dict[tuple[str, int], float]
) -> None:
    for row in edits:
        each, trials = found[row.strategy], places[row.stage, row.task_id, row.index, row.policy]
        each.edits += 1
        each.tokens += row.tokens
        each.trials += len(trials)
        if trials and (row.task_id, row.policy) in without:
            scored = fmean(trial.reward or 0.0 for trial in trials)
            each.gains.append(scored - without[row.task_id, row.policy])
            each.tried += row.tokens


def round_number(stage: str) -> int | None:
    """The round that a stage is of."""
    found = re.fullmatch(r"round (\d+)", stage)
    return int(found[1]) if found else None


def print_written(rounds: Sequence[Mapping[str, Any]], strategies: Sequence[Mapping[str, Any]]) -> None:
    """Strategies as a table on standard output, and a line for each round that is warned of."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if strategies:
        table = Table("strategy", "self-edits", "trials", "mean gain", "tokens", "gain per 100 tokens")
        for row in strategies:
            gain = [f"{100 * row['gain']:+.1f}", f"{1e4 * row['gain per token']:+.1f}"] if "gain" in row else ["–"] * 2
            counts = [str(row["self-edits"]), str(row["trials"])]
            table.add_row(escape(visible(row["strategy"])), *counts, gain[0], f"{row['tokens']:.0f}", gain[1])
        Console().print(table)
        print("gain: points over training on a task's own text alone")
    for row in rounds:
        if row["warning"]:
            print(visible(f"(!) {row['warning']}"))
