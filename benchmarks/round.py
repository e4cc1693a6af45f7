"""A whole round on this machine: how long each stage took, what overlapped, and who waited.

python -m benchmarks round jobs/microworld.toml --picture round.html
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2

from seal_ray.config import load
from seal_ray.loop.run import run
from seal_ray.observe.progress import Progress
from seal_ray.record.intervals import merge, total_length
from seal_ray.record.journal import Journal
from seal_ray.record.rows import SpanRow
from seal_ray.record.storage import Store
from seal_ray.report import lanes
from seal_ray.report.timeline import Span, Timeline, timeline
from seal_ray.types import UserError

ROUND = [
    *("--run.rounds", "1", "--domain.test", "1", "--evaluation.baselines", "[]", "--evaluation.samples", "0"),
    *("--evaluation.every_round", "false"),
]
"""One round, and next to nothing measured beside it."""
NAMES = {"sample": "sampling", "trial": "trials, trained and answered", "update": "the update"}


@dataclass(frozen=True)
class Stage:
    calls: int
    began: float
    """Seconds from the round's start."""
    ended: float
    under_way: float
    """Seconds in which some call of it was waiting or under way."""
    alone: float
    """Of these, the seconds in which no other stage was."""


@dataclass(frozen=True)
class Round:
    seconds: float
    stages: dict[str, Stage]
    nothing: float
    """Seconds in which no stage was under way: selecting, and handing policies on."""
    idle: dict[str, float]
    """Share of the round in which each worker had nothing to do."""
    picture: Timeline

    def as_json(self) -> dict[str, Any]:
        stages = {name: asdict(stage) for name, stage in self.stages.items()}
        return {"seconds": self.seconds, "stages": stages, "nothing": self.nothing, "idle": self.idle}


def bench_round(config: str, overrides: Sequence[str], progress: Progress, overlays: Sequence[str] = ()) -> Round:
    """Do one round of a config in a directory that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        run(load(config, [*ROUND, *overrides, "--run.dir", f"{folder}/run"], overlays), progress)
        rows = list(Journal(Store(f"{folder}/run")).read(SpanRow))
    return of_spans([(row.what, row.worker, row.start, row.end) for row in rows])


def of_spans(spans: Iterable[Span]) -> Round:
    """What the spans of a run say about its first round, which ends with its update."""
    spans = list(spans)
    until = min((end for what, _, _, end in spans if what == "update"), default=None)
    if until is None:
        raise UserError("the round had no update: no self-edit was kept; there is nothing to time")
    spans = [(what, worker, start, min(end, until)) for what, worker, start, end in spans if start < until]
    began = min(start for _, _, start, _ in spans)
    by_stage = {name: [(s - began, e - began) for what, _, s, e in spans if what == name] for name in NAMES}
    united = {name: merge(stretches) for name, stretches in by_stage.items() if stretches}
    stages = {}
    for name, stretches in united.items():
        others = [stretch for other, theirs in united.items() if other != name for stretch in theirs]
        alone = total_length([*stretches, *others]) - total_length(others)
        stages[name] = Stage(len(by_stage[name]), stretches[0][0], stretches[-1][1], total_length(stretches), alone)
    busy = total_length(stretch for stretches in united.values() for stretch in stretches)
    picture = timeline(spans)
    assert picture is not None
    return Round(until - began, stages, until - began - busy, {x.worker: x.idle for x in picture.lanes}, picture)


def table(found: Round) -> str:
    lines = [f"{'':28}{'calls':>8}{'began':>10}{'ended':>10}{'under way':>12}{'alone':>10}"]
    for name, stage in found.stages.items():
        times = f"{stage.began:8.1f} s{stage.ended:8.1f} s{stage.under_way:10.1f} s{stage.alone:8.1f} s"
        lines.append(f"{NAMES[name]:28}{stage.calls:8}{times}")
    waits = ", ".join(f"{worker} {share:.0%}" for worker, share in found.idle.items())
    return "\n".join(
        [*lines, f"the round: {found.seconds:.1f} s, {found.nothing:.1f} s of them nothing under way; idle: {waits}"]
    )


def draw(found: Round, path: str) -> None:
    """A self-contained page with the timeline."""
    loader = jinja2.PackageLoader("seal_ray.report", "")
    style = jinja2.Environment(loader=loader, autoescape=True).get_template("style.jinja").render()
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>A round</title><style>{style}</style>'
    Path(path).write_text(f"{head}<h1>A round</h1><figure>{lanes.workers(found.picture)}</figure></html>", "utf-8")
