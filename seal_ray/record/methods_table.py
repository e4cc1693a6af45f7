"""The tables of methods on standard output: what each taught, and what that cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seal_ray.plain import broken, counted, visible
from seal_ray.record.methods import TOGETHER
from seal_ray.record.summary import FEWEST

Row = dict[str, Any]


def print_methods(rows: Sequence[Row]) -> None:
    """Two tables, of what was learnt and of what that took, and notes on rows that cannot be compared."""
    _print(
        ("method", "texts", "accuracy", "over passage", "tasks"),
        [
            (
                called(row),
                said_texts(row),
                _with_bounds(row["accuracy"], row.get("interval")),
                _with_bounds(over[0], over[1:], "+") if (over := row.get("over passage")) else "–",
                str(row["tasks"]),
            )
            for row in rows
        ],
    )
    _print(
        ("method", "texts", "written", "trained on", "GFLOP", "seconds"),
        [
            (
                called(row),
                said_texts(row),
                f"{row['written']:,.0f}",
                f"{row['trained']:,.0f}",
                f"{row['flops'] / 1e9:,.1f}" if "flops" in row else "–",
                f"{row['seconds']:,.2f}",
            )
            for row in rows
        ],
    )
    print("accuracy in %; over passage in points, task by task; brackets: 95 % intervals")
    if any(row["tasks"] < FEWEST for row in rows):
        print(f"fewer than {FEWEST} tasks: too few for intervals, and to hold anything to the passage")
    if any(map(is_held, rows)):
        print("≤: as many texts as have no more than so many tokens between them, on average")
    if any("trained budget" in row for row in rows):
        print("≤ … trained: the same of tokens trained on, all epochs and the passage included")
    print("of a task: tokens written and trained on; operations and seconds of its training")
    most = max(row["tasks"] for row in rows)
    for row in rows:
        name = _named(row)
        said = notes(row)
        if row["tasks"] < most:
            said.append(f"{name}: measured on {row['tasks']} of {most} tasks, so not to be held beside the others")
        if row["failed"]:
            said.append(f"{name}: {row['failed']:.1%} of its trials failed and count as 0")
        for each in said:
            print("\n".join(broken(each)))


def called(row: Row) -> str:
    """A method as tables name it."""
    budget = f" ≤ {row['budget']}" if "budget" in row else ""
    budget = f" ≤ {row['trained budget']} trained" if "trained budget" in row else budget
    return visible(f"{row['method']}{budget}{', ' + TOGETHER if row.get('together') else ''}")


def is_held(row: Mapping[str, Any]) -> bool:
    """Whether a budget decided how many texts were written."""
    return "budget" in row or "trained budget" in row


def notes(row: Row) -> list[str]:
    """Lines for what has no column: questions that found their passage, and the cost of a skill."""
    name, said = _named(row), []
    if "own passage found" in row:
        said.append(f"{name}: {row['own passage found']:.1%} of the questions found their own passage")
    if skill := row.get("skill"):
        share = f"{skill['trained each']:,.0f} and {skill['written each']:,.0f} of a task"
        share += f", {skill['flops each'] / 1e9:,.1f} GFLOP" if "flops" in skill else ""
        said.append(
            f"{name}: its skill was learnt once, beside that row, on {counted(skill['passages'], 'passage')}: "
            f"{skill['trained']:,} tokens trained on and {skill['written']:,} of answers, {share}"
        )
    return said


def _named(row: Row) -> str:
    """A method with its number of texts."""
    texts = f", {counted(row['texts'], 'text')}" if row["texts"] and not is_held(row) else ""
    return called(row) + visible(texts)


def said_texts(row: Row) -> str:
    """How many texts were written; a mean where a budget decided it."""
    return f"{row['texts']:.1f}" if is_held(row) else str(row["texts"] or "–")


def _print(names: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    table = Table(*(Column(n, no_wrap=True) for n in names), box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    for line in lines:
        table.add_row(*map(escape, line))
    Console().print(table)


def _with_bounds(value: float, bounds: Sequence[float] | None, sign: str = "") -> str:
    said = f"{100 * value:{sign}.1f}"
    return f"{said} ({100 * bounds[0]:.0f}..{100 * bounds[1]:.0f})" if bounds else said
