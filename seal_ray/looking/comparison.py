"""Runs side by side as tables a person can read, and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from seal_ray.looking.comparing import Compared, Difference
from seal_ray.looking.words import NOTHING, accuracy, columns, percent
from seal_ray.record.summary import as_json as arms_as_json
from seal_ray.record.summary import doubts
from seal_ray.report.rounds import Round
from seal_ray.report.words import duration

_BY_NAME = "is of another source, seed or domain than [1], or asks otherwise: tasks of one name may be others"


def lines(found: Sequence[Compared]) -> list[str]:
    """Which runs, how their settings differ, and then a table for each kind of figure, a column a run."""
    numbers = [f"[{number}]" for number in range(1, len(found) + 1)]
    said = columns([(number, run.place, run.name) for number, run in zip(numbers, found, strict=True)])
    said += ["", "settings that are not those of [1]:"]
    for number, run in zip(numbers[1:], found[1:], strict=True):
        said += columns([(number, line) for line in run.differs or ("none",)])
    said += ["", *columns([("held-out accuracy, 95 % interval", *numbers), *_accuracies(found)])]
    said += ["", *columns([("difference to [1], in points, by task", *numbers[1:]), *_differences(found[1:])])]
    for number, run in zip(numbers, found, strict=True):
        said += [f"{number} {line}" for line in doubts(dict(run.arms))]
        if run.by_name:
            said.append(f"{number} {_BY_NAME}")
    if any(run.rounds for run in found):
        said += ["", *columns([("mean reward (of those kept), trials", *numbers), *_rewards(found)])]
    return [*said, "", *columns([("", *numbers), *_totals(found)])]


def as_json(found: Sequence[Compared]) -> list[dict[str, Any]]:
    """A tree for each run; shares to four digits, as `seal-ray eval --json` has them."""
    return [
        {
            "place": run.place,
            "name": run.name,
            "differs": list(run.differs),
            "arms": arms_as_json(dict(run.arms)),
            "pending": dict(run.pending),
            "paired": {arm: vars(each) for arm, each in run.paired.items()},
            "paired_by_name": run.by_name,
            "rounds": [_round(each) for each in run.rounds],
            "trials": run.trials,
            "failures": dict(run.failures),
            "seconds": run.seconds,
        }
        for run in found
    ]


def _round(each: Round) -> dict[str, Any]:
    names = ("number", "written", "trials", "pending", "failed", "kept", "mean", "kept_mean")
    return {name: getattr(each, name) for name in names}


def _accuracies(found: Sequence[Compared]) -> Iterable[tuple[str, ...]]:
    for arm in dict.fromkeys(arm for run in found for arm in run.arms):
        yield arm, *(_accuracy(run, arm) for run in found)


def _accuracy(run: Compared, arm: str) -> str:
    measured, waiting = run.arms.get(arm), run.pending.get(arm, 0)
    tasks = f", {measured.n} tasks" if measured and measured.n > 1 and not measured.void else ""
    failed = f", {measured.failed:.1%} failed" if measured and 0 < measured.failed < 1 else ""
    return accuracy(measured) + tasks + failed + (f", {waiting} trials to come" if waiting else "")


def _differences(others: Sequence[Compared]) -> Iterable[tuple[str, ...]]:
    for arm in dict.fromkeys(arm for run in others for arm in run.paired):
        yield arm, *(_difference(run.paired.get(arm)) for run in others)


def _difference(found: Difference | None) -> str:
    if found is None:
        return NOTHING
    if found.mean is None:
        return found.why
    tasks = f"{found.tasks} task{'s' if found.tasks > 1 else ''}"
    if found.low is None or found.high is None:
        return f"{_points(found.mean)}, {tasks}, {found.why}"
    return f"{_points(found.mean)} ({_points(found.low)} to {_points(found.high)}), {tasks}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _rewards(found: Sequence[Compared]) -> Iterable[tuple[str, ...]]:
    for each in zip_longest(*(run.rounds for run in found)):
        number = next(round_.number for round_ in each if round_)
        yield f"round {number}", *(_reward(round_) for round_ in each)


def _reward(round_: Round | None) -> str:
    if round_ is None:
        return NOTHING
    trials = f"{round_.trials - round_.pending}/{round_.trials}" if round_.pending else f"{round_.trials}"
    return f"{percent(round_.mean)} ({percent(round_.kept_mean)}), {trials}"


def _totals(found: Sequence[Compared]) -> Iterable[tuple[str, ...]]:
    yield "trials", *(f"{run.trials}" for run in found)
    for kind in sorted(set().union(*(run.failures for run in found))):
        yield f"failed: {kind}", *(f"{Counter(run.failures)[kind]}" for run in found)
    yield (
        "time in which workers were busy",
        *(NOTHING if run.seconds is None else duration(run.seconds) for run in found),
    )
