"""Runs side by side as tables a person can read, and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len

from seal_ray.looking.comparing import Compared, Figures, Rewards
from seal_ray.looking.words import NOTHING, accuracy, columns, percent
from seal_ray.plain import WIDTH, broken, visible
from seal_ray.record.differences import Difference
from seal_ray.record.summary import FEWEST, Interval, doubts
from seal_ray.record.summary import as_json as arms_as_json
from seal_ray.report.words import duration, points

_BY_NAME = "is of another source, seed or domain than [1], or asks otherwise: tasks of one name may be others"

_ALONE = "has no seed in common with [1], so no task of it is held to itself"


def lines(found: Sequence[Compared], width: int = WIDTH) -> list[str]:
    """Which runs, how their settings differ, and a table for each kind of figure: a column a run, where so many fit.

    What is said in words is broken where a line ends; where a run is, and what it is called, stands in one.
    """
    numbers = [f"[{number}]" for number in range(1, len(found) + 1)]
    said = columns([row for number, run in zip(numbers, found, strict=True) for row in _named(number, run)])
    said += ["", "settings that are not those of [1]:"]
    for number, run in zip(numbers[1:], found[1:], strict=True):
        said += [line for each in run.differs or ("none",) for line in broken(each, f"{number}  ", width)]
    kinds = {
        "held-out accuracy": [run.arms for run in found],
        "accuracy of methods": [run.methods for run in found],
        "accuracy at the end of passages in turn": [run.in_turn for run in found],
    }
    for name, figures in kinds.items():
        said += _table(f"{name}, 95 % interval", numbers, _accuracies(figures), width)
        differences = _differences([each.paired for each in figures[1:]])
        said += _table(f"{name}: difference to [1], in points, by task", numbers[1:], differences, width)
    said += _notes(numbers, found, width)
    said += _table("mean reward (of those kept), trials", numbers, _rewards(found), width)
    said += _table("in all", numbers, _totals(found), width)
    return [*said, "", *broken(_left_out(found), "not compared: ", width)]


def _notes(numbers: Sequence[str], found: Sequence[Compared], width: int) -> list[str]:
    """What is to be said beside the accuracies."""
    said = []
    for number, run in zip(numbers, found, strict=True):
        kinds = run.arms.measured, run.methods.measured, run.in_turn.measured
        every = dict.fromkeys(line for kind in kinds for line in doubts(dict(kind)))  # what to do is said once
        for note in [*every, *([_BY_NAME] if run.by_name else []), *([_ALONE] if run.alone else [])]:
            said += broken(note, f"{number} ", width)
    return ["", *said] if said else []


def _named(number: str, run: Compared) -> Iterable[tuple[str, ...]]:
    first, *others = run.places
    yield number, first, run.name
    yield from (("", other, "") for other in others)


def _left_out(found: Sequence[Compared]) -> str:
    """Which results of the runs are not compared here, as a sentence."""
    what = ["texts, strategies and adapters"]
    what += ["what methods cost"] if any(run.methods.measured for run in found) else []
    streams = "passages before the end, what was known before, and sequences with lessons taken out"
    what += [streams] if any(run.in_turn.measured for run in found) else []
    return f"{'; '.join(what)}; `seal-ray eval DIR` and `report` say more of each run"


def _table(title: str, numbers: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> list[str]:
    """A column for each run; where those find no room, a line for each."""
    rows = list(rows)
    if not rows:
        return []
    table = columns([("", *numbers), *rows])
    if max(map(cell_len, table)) > width:
        table = []
        for label, *cells in rows:
            table += [visible(label), *columns([("", *each) for each in zip(numbers, cells, strict=True)])]
    return ["", f"{title}:", *table]


def as_json(found: Sequence[Compared]) -> list[dict[str, Any]]:
    """A tree for each run; shares to four digits, as `seal-ray eval --json` has them."""
    return [
        {
            "places": list(run.places),
            "name": run.name,
            "differs": list(run.differs),
            "arms": arms_as_json(dict(run.arms.measured)),
            "paired": {arm: vars(each) for arm, each in run.arms.paired.items()},
            "pending": dict(run.arms.pending),
            "paired_by_name": run.by_name,
            "methods": _figures(run.methods),
            "in_turn": _figures(run.in_turn),
            "rounds": [vars(each) for each in run.rounds],
            "trials": run.trials,
            "failures": dict(run.failures),
            "seconds": run.seconds,
        }
        for run in found
    ]


def _figures(found: Figures) -> dict[str, Any]:
    paired = {name: vars(each) for name, each in found.paired.items()}
    return {"measured": arms_as_json(dict(found.measured)), "paired": paired}


def _accuracies(found: Sequence[Figures]) -> Iterable[tuple[str, ...]]:
    for name in dict.fromkeys(name for each in found for name in each.measured):
        yield name, *(_accuracy(each.measured.get(name), each.pending.get(name, 0)) for each in found)


def _accuracy(measured: Interval | None, waiting: int) -> str:
    tasks = f", {measured.n} tasks" if measured and measured.n >= FEWEST and not measured.void else ""
    failed = f", {measured.failed:.1%} failed" if measured and 0 < measured.failed < 1 else ""
    return accuracy(measured) + tasks + failed + (f", {waiting} trials to come" if waiting else "")


def _differences(others: Sequence[Mapping[str, Difference]]) -> Iterable[tuple[str, ...]]:
    for name in dict.fromkeys(name for paired in others for name in paired):
        yield name, *(in_points(paired.get(name)) for paired in others)


def in_points(found: Difference | None) -> str:
    """A difference as words, with its interval and the number of tasks."""
    if found is None:
        return NOTHING
    if found.mean is None:
        return found.why
    tasks = f"{found.tasks} task{'s' if found.tasks > 1 else ''}"
    if found.low is None or found.high is None:
        return f"{points(found.mean)}, {tasks}, {found.why}"
    return f"{points(found.mean)} ({points(found.low)} to {points(found.high)}), {tasks}"


def _rewards(found: Sequence[Compared]) -> Iterable[tuple[str, ...]]:
    for each in zip_longest(*(run.rounds for run in found)):
        number = next(round_.number for round_ in each if round_)
        yield f"round {number}", *(_reward(round_) for round_ in each)


def _reward(round_: Rewards | None) -> str:
    if round_ is None:
        return NOTHING
    trials = f"{round_.trials - round_.pending}/{round_.trials}" if round_.pending else f"{round_.trials}"
    return f"{percent(round_.mean)} ({percent(round_.kept_mean)}), {trials}"


def _totals(found: Sequence[Compared]) -> Iterable[tuple[str, ...]]:
    yield "trials", *(f"{run.trials}" for run in found)
    for kind in sorted(set().union(*(run.failures for run in found))):
        yield f"failed: {kind}", *(f"{Counter(run.failures)[kind]}" for run in found)
    yield (
        "time workers were busy",
        *(NOTHING if run.seconds is None else duration(run.seconds) for run in found),
    )
