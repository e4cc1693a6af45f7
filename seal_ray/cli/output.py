"""What the commands print: tables for people or JSON for programs on standard output, all else beside it."""

from __future__ import annotations

import json
import sys
from typing import Any

from seal_ray.plain import visible


def report_page(dir: str) -> str:
    """Write the page of a run; where it is."""
    from seal_ray.report import write_report

    return write_report(dir)


def show(summary: dict[str, Any], as_json: bool, dir: str = "") -> None:
    """A run's arms, and where it learnt passages in a sequence, how it did after each."""
    from seal_ray.record.journal import Journal
    from seal_ray.record.storage import Store
    from seal_ray.record.summary import as_json as tree
    from seal_ray.record.summary import continual, print_continual, print_table

    passages = continual(Journal(Store(dir))) if dir else []
    if as_json:
        learnt = {"continual": [row.accuracy for row in passages], "continual failed": [row.failed for row in passages]}
        print(json.dumps(tree(summary) | (learnt if passages else {})))
        return
    print_table(summary)
    if passages:
        print_continual(passages)


def facts(found: dict[str, float], as_json: bool) -> None:
    """Numbers by name."""
    print(json.dumps(found) if as_json else "\n".join(f"{name:22} {value:.4g}" for name, value in found.items()))


def say(line: str) -> None:
    """A line for the person, which no program reads."""
    print(visible(line), file=sys.stderr)
