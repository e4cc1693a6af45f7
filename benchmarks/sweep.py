"""A grid of settings on held-out tasks, for presets: what each point teaches, as one table.

python -m benchmarks sweep benchmarks/sweep_small.toml --model.path MODEL --domain.options.train squad/dev-v1.1.json

Every point is a run of its own in one process and without rounds, so the same command goes on where it was stopped, and
what does not depend on the settings (the base, the passage in the prompt) is measured once, in the first.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal_ray.config import IN_PROCESS, load
from seal_ray.loop.run import run
from seal_ray.observe.progress import Progress
from seal_ray.record.summary import as_json
from seal_ray.types import UserError, content_key

MEASURED = "measured.json"
"""Lies in the directory of each point that is done."""


@dataclass(frozen=True)
class Grid:
    job: Path
    """The config that all points begin with."""
    settings: dict[str, Any]
    """Said for every point, by the whole name of each."""
    axes: dict[str, list[Any]]
    """What is tried for each setting; the points are all combinations."""

    def points(self) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*self.axes.values()):
            yield dict(zip(self.axes, values, strict=True))


@dataclass(frozen=True)
class Point:
    settings: dict[str, Any]
    arms: dict[str, dict[str, Any]]
    """What `seal-ray eval --json` says of it."""


def read_grid(path: str) -> Grid:
    try:
        tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        axes = {str(name): list(values) for name, values in tree["grid"].items()}
        return Grid(Path(path).parent / tree["job"], dict(tree.get("settings", {})), axes)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: no grid: it has a job, [settings] and [grid] with a list for each: {error}") from None


def sweep(path: str, overrides: Sequence[str], into: str, progress: Progress) -> list[Point]:
    """Measure every point that is not measured yet."""
    grid, found, first = read_grid(path), [], ""
    for settings in grid.points():
        directory = Path(into) / content_key("point", settings, grid.settings, list(overrides))
        if not (directory / MEASURED).is_file():
            fixed = {"run.rounds": 0, "run.dir": str(directory), "workers.address": IN_PROCESS}
            said = _overrides(grid.settings | settings)
            summary = run(load(grid.job, [*said, *overrides, *_overrides(fixed)]), progress, beside=first)
            held = {"settings": settings, "arms": as_json(summary)}
            (directory / MEASURED).write_text(json.dumps(held, indent=2), encoding="utf-8")
        held = json.loads((directory / MEASURED).read_text(encoding="utf-8"))
        found.append(Point(held["settings"], held["arms"]))
        first = first or str(directory)
    return found


def table(points: Sequence[Point]) -> str:
    """Markdown: a row for each point, the arms' means with their intervals, the best of each arm in bold."""
    keys, arms = list(points[0].settings), list(points[0].arms)
    best = {arm: max(point.arms[arm]["accuracy"] or 0.0 for point in points) for arm in arms}
    lines = [f"| {' | '.join([*(f'`{key}`' for key in keys), *arms])} |", "|---" * (len(keys) + len(arms)) + "|"]
    for point in points:
        said = [", ".join(value) if isinstance(value, list) else str(value) for value in point.settings.values()]
        lines.append(f"| {' | '.join([*said, *(_cell(point.arms[arm], best[arm]) for arm in arms)])} |")
    return "\n".join(lines)


def _cell(arm: dict[str, Any], best: float) -> str:
    if arm["accuracy"] is None:
        return "failed"
    mean = f"{arm['accuracy']:.1%}"
    return f"{f'**{mean}**' if arm['accuracy'] == best else mean} ({arm['low']:.1%} – {arm['high']:.1%})"


def _overrides(settings: dict[str, Any]) -> list[str]:
    return [
        word
        for key, value in settings.items()
        for word in (f"--{key}", value if isinstance(value, str) else json.dumps(value))
    ]
