"""The playbook of a run, or of several: what each hint came to, by the last that is on record of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from seal_ray.plain import visible
from seal_ray.record.journal import Journal
from seal_ray.record.rows import HintRow
from seal_ray.record.summary import FEWEST, by_task, interval

ADVICE = "advice for round "
"""How the stages begin in which hints are asked for; what is written there is no self-edit."""


def has_hints(journal: Journal) -> bool:
    """Whether the run has a playbook, so that what its self-edits were asked for by are hints."""
    return any(True for _ in journal.read(HintRow))


def by_hint(journals: Sequence[Journal]) -> list[dict[str, Any]]:
    """Each hint of these runs and what it gained, the most first; those that were never tried are last.

    A task that several runs tried it on counts once, where they have written down which they were.
    """
    found: dict[str, list[HintRow]] = {}
    for journal in journals:
        last: dict[str, HintRow] = {}
        for row in sorted(journal.read(HintRow), key=lambda row: row.round):
            last[row.text] = row
        for text, row in last.items():
            found.setdefault(text, []).append(row)
    table = [_row(text, rows) for text, rows in found.items()]
    return sorted(table, key=lambda row: (-row.get("gain", float("-inf")), row["since"], row["hint"]))


def _row(text: str, rows: Sequence[HintRow]) -> dict[str, Any]:
    tasks = [row.tasks or [f"{run} {n}" for n in range(len(row.gains))] for run, row in enumerate(rows)]
    gains = by_task(pair for names, row in zip(tasks, rows, strict=True) for pair in zip(names, row.gains, strict=True))
    known: dict[str, Any] = {"gain": fmean(gains)} if gains else {}
    if len(gains) >= FEWEST:
        between = interval(gains)
        known |= {"low": between.low, "high": between.high}
    dropped = [row.round for row in rows if row.dropped]
    tried = {"self-edits": sum(row.tried for row in rows), "tasks": len(gains)}
    since = min(row.since for row in rows)
    return {"hint": text, "since": since, **tried, **known, "runs": len(rows), "dropped": dropped}


def state(row: Mapping[str, Any]) -> str:
    """How a hint stands."""
    dropped: list[int] = row["dropped"]
    if not dropped:
        return "in force"
    if row["runs"] == 1:
        return f"dropped after round {dropped[0]}"
    return f"dropped in {len(dropped)} of {row['runs']} runs"


def print_hints(hints: Sequence[Mapping[str, Any]]) -> None:
    """The playbook as a table on standard output, if there is one."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    if not hints:
        return
    figures = ("from\nround", "self-\nedits", "mean\ngain", "95 % interval")
    now = Column("now", max_width=len("after round 1"))
    narrow = (Column(name, no_wrap=True) for name in figures)
    hint = Column("hint", overflow="fold")  # a word as long as a line is whole, as all are of some languages
    table = Table(hint, *narrow, now, box=box.SIMPLE, show_edge=False, pad_edge=False, collapse_padding=True)
    for row in hints:
        gain = f"{100 * row['gain']:+.1f}" if "gain" in row else "–"
        between = f"{100 * row['low']:+.1f} – {100 * row['high']:+.1f}" if "low" in row else "too few tasks"
        table.add_row(
            escape(visible(row["hint"])), str(row["since"]), str(row["self-edits"]), gain, between, state(row)
        )
    Console().print(table)
    print("gain: points over the same task's self-edits without a hint")
