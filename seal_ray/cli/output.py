"""What the commands print: tables for people or JSON for programs on standard output, all else beside it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from seal_ray.plain import broken, first_line, visible
from seal_ray.types import UserError

if TYPE_CHECKING:
    from seal_ray.looking.over import Over


def report_page(dir: str) -> str:
    """Write the page of a run; where it is."""
    from seal_ray.report import write_report

    return write_report(dir)


@contextmanager
def page_when_stopped(dir: str) -> Iterator[None]:
    """Write the page of a run that ends before its time, too; nothing but that end is raised or told."""
    from seal_ray.record.ending import ending
    from seal_ray.record.storage import Store
    from seal_ray.stopping import Stopped

    try:
        yield
    except BaseException:
        with suppress(Exception, Stopped):  # what ended the run is to be heard of; who is told again wants no page
            if ending(Store(dir)):
                report_page(dir)
        raise


def show(summary: dict[str, Any], as_json: bool, *dirs: str, over: Over | None = None) -> None:
    """The arms of one run or several, and where methods or passages in turn were measured, how that went."""
    from seal_ray.looking import taken_out
    from seal_ray.model.flops import of_trained_token
    from seal_ray.policy.retraction import of_each_sequence
    from seal_ray.record.continual import by_way, orders, print_continual
    from seal_ray.record.hints import by_hint, print_hints
    from seal_ray.record.journal import Journal
    from seal_ray.record.methods import by_method
    from seal_ray.record.methods_table import print_methods
    from seal_ray.record.storage import Store
    from seal_ray.record.summary import as_json as tree
    from seal_ray.record.summary import print_table
    from seal_ray.record.written import by_round, by_strategy, print_written
    from seal_ray.rundir.directory import begun

    with read_or_not():
        journals = [Journal(Store(dir)) for dir in dirs]
        passages = by_way([order for journal in journals for order in orders(journal)])
        rounds, strategies, hints = by_round(journals), by_strategy(journals), by_hint(journals)
        recorded = [begun(dir) for dir in dirs]
        methods = by_method(journals, [of_trained_token(each.config) if each else None for each in recorded])
        out = [each for journal in journals for each in of_each_sequence(journal)]
        if as_json:
            also = {"continual": passages, "methods": methods, "self-edits": rounds, "strategies": strategies}
            also |= {"retracted": [taken_out.as_json(each) for each in out], "playbook": hints}
            also |= {"over": over.as_json()} if over else {}
            print(json.dumps(tree(summary) | {name: found for name, found in also.items() if found}))
            return
        if summary or not (passages or methods):
            print_table(summary)
        if over:
            print("\n".join(over.lines()))
        print_written(rounds, strategies)
        print_hints(hints)
        if methods:
            print_methods(methods)
        if passages:
            print_continual(passages)
        for each in out:
            print("\n".join(broken(taken_out.note(each))))


def facts(found: dict[str, float], as_json: bool) -> None:
    """Numbers by name."""
    print(json.dumps(found) if as_json else "\n".join(f"{name:22} {value:.4g}" for name, value in found.items()))


@contextmanager
def read_or_not() -> Iterator[None]:
    """A context for printing, in which it is no error that a reader such as `head` stops reading.

    A full disk is one, of whoever sent the output there.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        if not isinstance(error, BrokenPipeError):
            raise UserError(f"standard output cannot be written: {first_line(error)}") from None


def lines(found: Iterable[str]) -> None:
    """Lines on standard output."""
    with read_or_not():
        print("\n".join(found))


def width() -> int | None:
    """The width of the terminal; None where output does not go to one, and lines may be of any width."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(line: str) -> None:
    """A line for the person, which no program reads."""
    print(visible(line), file=sys.stderr)
