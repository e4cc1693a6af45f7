"""Hostile text into every parser, grader, reader and the report.

python -m tests.fuzz                        # 100,000 inputs
python -m tests.fuzz --inputs 3000 --seed 7

Fails on an error that is not declared, and on any input that takes a second of processor time.
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from seal_ray.report import write_report
from tests.hostile import PLACES, hostile

LIMIT = 1.0
"""Seconds of processor time that any input may take."""
_STUCK = 10.0
_TEXTS_A_PAGE = 25


class Stuck(BaseException):
    """An input that was given up on."""


@dataclass
class Found:
    inputs: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def see(self, name: str, what: str, seconds: float, problem: str = "") -> None:
        self.inputs[name] += 1
        self.slowest[name] = max(seconds, self.slowest.get(name, 0.0))
        if not problem and seconds > LIMIT:
            problem = f"{seconds:.1f} s of processor time"
        if problem:
            self.problems.append(f"{name}: {problem} on {what}")


def fuzz(inputs: int, seed: int, pages: int) -> Found:
    """So many inputs, each place in its turn; of pages, each holds texts of its own in every row."""
    found, order = Found(), list(PLACES)
    for number in range(inputs):
        name = order[number % len(order)]
        text = hostile(random.Random(f"{seed} {number}"))
        _feed(found, name, text, f"input {number} of seed {seed} ({len(text)} characters, {text[:40]!a}…)")
    for number in range(pages):
        _page(found, seed, number)
    return found


def _feed(found: Found, name: str, text: str, what: str) -> None:
    start, problem = time.process_time(), ""
    try:
        with _given_up_on():
            PLACES[name].take(text)
    except PLACES[name].declared as error:
        problem = "an error of several lines" if "\n" in str(error) else ""
    except Exception as error:
        problem = f"{type(error).__name__}: {str(error)[:120]!a}"
    except Stuck:
        problem = "stuck"
    found.see(name, what, time.process_time() - start, problem)


def _page(found: Found, seed: int, number: int) -> None:
    """The report of a run whose journal holds nothing but such texts."""
    from tests.report.build import finished

    rng = random.Random(f"{seed} page {number}")
    start, problem = time.process_time(), ""
    with tempfile.TemporaryDirectory() as folder:
        run = finished(folder, train=2, test=2, per_task=2, seeds=1)
        for index in range(_TEXTS_A_PAGE):
            text = hostile(rng).encode("utf-8", "replace").decode()  # what the journal keeps
            stage = rng.choice(("round 1", "evaluation", text[:50]))
            run.edit(stage, rng.choice((f"train-{index % 2:03d}", text[:200])), 5 + index, 0, text)
            run.fail(stage, f"train-{index % 2:03d}", 5 + index, text)
        run.journal.flush()
        try:
            with _given_up_on():
                page = Path(write_report(folder)).read_text(encoding="utf-8")
            assert page.count("<script") == 1  # its own
        except Exception as error:
            problem = f"{type(error).__name__}: {str(error)[:120]!a}"
        except Stuck:
            problem = "stuck"
    seconds = (time.process_time() - start) / _TEXTS_A_PAGE
    for _ in range(_TEXTS_A_PAGE - 1):
        found.see("the report", "", seconds)
    found.see("the report", f"page {number} of seed {seed}", seconds, problem)


@contextmanager
def _given_up_on() -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        raise Stuck

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, _STUCK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pages", type=int, default=100)
    given = parser.parse_args(arguments)
    logging.disable()  # a warning an input, of files that are meant to be damaged
    found = fuzz(given.inputs - given.pages * _TEXTS_A_PAGE, given.seed, given.pages)
    for name, count in found.inputs.items():
        print(f"{name:28} {count:6} inputs, the slowest {found.slowest[name]:.3f} s")
    for problem in found.problems[:50]:
        print(problem)
    print(f"{found.inputs.total()} inputs of seed {given.seed}, {len(found.problems)} problems")
    return bool(found.problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
