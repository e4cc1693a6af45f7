"""What the commands print: tables for people or JSON for programs on standard output, all else beside it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from seal_ray.plain import visible


def report_page(dir: str) -> str:
    """Write the page of a run; where it is."""
    from seal_ray.report import write_report

    return write_report(dir)


def show(summary: dict[str, Any], as_json: bool, *dirs: str) -> None:
    """The arms of one run or several, and where passages were learnt in turn, how that went."""
    from seal_ray.record.continual import by_way, orders, print_continual
    from seal_ray.record.journal import Journal
    from seal_ray.record.storage import Store
    from seal_ray.record.summary import as_json as tree
    from seal_ray.record.summary import print_table

    passages = by_way([order for dir in dirs for order in orders(Journal(Store(dir)))])
    if as_json:
        print(json.dumps(tree(summary) | ({"continual": passages} if passages else {})))
        return
    if summary or not passages:
        print_table(summary)
    if passages:
        print_continual(passages)


def facts(found: dict[str, float], as_json: bool) -> None:
    """Numbers by name."""
    print(json.dumps(found) if as_json else "\n".join(f"{name:22} {value:.4g}" for name, value in found.items()))


def lines(found: Iterable[str]) -> None:
    """Lines on standard output; that whoever reads them, such as `head`, has enough of them is no error."""
    try:
        print("\n".join(found), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end


def say(line: str) -> None:
    """A line for the person, which no program reads."""
    print(visible(line), file=sys.stderr)
