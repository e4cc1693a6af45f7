"""For domains whose self-edit is a decision, what was decided by kind of task; for grids, a picture of each task."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from seal_ray.domains.base import DiscreteActions, Domain, Grid, Picture, Renderable
from seal_ray.record.answers import held_out_answers, last_arm
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.written import ORACLE
from seal_ray.report.sanitize import shown
from seal_ray.report.svg import Drawing
from seal_ray.report.tasks import Tasks
from seal_ray.types import DataError, Task

_VALUES, _BYTES = 3, 6_000_000
_CELL, _GAP = 10, 26


@dataclass(frozen=True)
class Decided:
    """The decisions of one policy on one family of held-out tasks; the oracle's is the one that was found best."""

    family: str
    who: str
    count: int
    invalid: int
    choices: dict[str, str]
    """For each choice, its most frequent values with their shares."""


@dataclass(frozen=True)
class Pictures:
    """One picture a task, of the last policy that was measured."""

    arm: str
    drawn: tuple[tuple[str, str, Markup], ...]
    """Task, family, picture."""
    unseen: int
    cells: float | None
    """Share of a target's cells that the better answer has right, over targets that are known."""
    no_grid: int
    """Answers that held no grid."""


@dataclass(frozen=True)
class Puzzles:
    decided: tuple[Decided, ...]
    pictures: Pictures | None


def puzzles(known: Tasks, journal: Journal, arms: Sequence[str]) -> Puzzles:
    """Decisions and pictures; none for domains without them, or when the run's task files are gone."""
    domain, tasks = known.domain, known.held_out
    if domain is None or not isinstance(domain, DiscreteActions | Renderable):
        return Puzzles((), None)
    decided = _decided(domain, tasks, journal) if isinstance(domain, DiscreteActions) else ()
    return Puzzles(decided, _pictures(domain, tasks, journal, arms) if arms else None)


def _decided(domain: DiscreteActions, tasks: Sequence[Task], journal: Journal) -> tuple[Decided, ...]:
    family = {task.id: task.family for task in tasks}
    texts: dict[tuple[str, int], list[str]] = defaultdict(list)
    for edit in journal.read(SelfEditRow):
        if edit.stage == "evaluation" and edit.task_id in family:
            texts[family[edit.task_id], edit.policy].append(edit.completion)
    found = [
        _decision(domain, name, "untrained" if policy == 0 else f"after round {policy}", own)
        for (name, policy), own in sorted(texts.items())
    ]
    best = [_decision(domain, name, ORACLE, [text]) for name, text in _oracle(journal, family).items()]
    return tuple(sorted([*found, *best], key=lambda row: row.family))


def _decision(domain: DiscreteActions, family: str, who: str, texts: Sequence[str]) -> Decided:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    invalid = 0
    for text in texts:
        try:
            for name, value in domain.choices(text).items():
                counts[name][value] += 1
        except DataError:
            invalid += 1
    return Decided(
        family=shown(family or "all", 60),
        who=who,
        count=len(texts),
        invalid=invalid,
        choices={shown(name, 40): _shares(own, len(texts) - invalid) for name, own in counts.items()},
    )


def _shares(values: Counter[str], count: int) -> str:
    if count == 1:
        return shown(next(iter(values)), 40)
    return ", ".join(f"{shown(value, 40)} {n / count:.0%}" for value, n in values.most_common(_VALUES))


def _oracle(journal: Journal, family: Mapping[str, str]) -> dict[str, str]:
    """The best decision for each family, of those tried on the most tasks."""
    reward = {row.key: row.reward or 0.0 for row in journal.read(OutcomeRow)}
    tried: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in journal.read(PlannedRow):
        if row.stage == ORACLE and row.trial in reward and row.task_id in family:
            tried[family[row.task_id]][row.arm].append(reward[row.trial])
    return {name: max(own, key=lambda text: (len(own[text]), fmean(own[text]))) for name, own in tried.items()}


def _pictures(
    domain: Domain | Renderable, tasks: Iterable[Task], journal: Journal, arms: Sequence[str]
) -> Pictures | None:
    if not isinstance(domain, Renderable):
        return None
    arm = last_arm(arms)
    answers = held_out_answers(journal, arm)
    drawn: list[tuple[str, str, Markup]] = []
    budget, unseen, no_grid = _BYTES, 0, 0
    cells: list[float] = []
    for number, task in enumerate(tasks):
        if task.id not in answers:
            continue
        grids = domain.pictures(task, answers[task.id][0])
        cells += right_cells(grids)
        no_grid += sum(not grid.rows for grid in grids)
        picture = draw(task.id, grids, number)
        budget -= len(picture)
        if budget > 0:
            drawn.append((shown(task.title, 120), shown(task.family, 60), picture))
        else:
            unseen += 1
    return Pictures(arm, tuple(drawn), unseen, fmean(cells) if cells else None, no_grid)


def right_cells(grids: Sequence[Picture]) -> list[float]:
    """For each target, the share of its cells that the better of the answers after it has; 0 for another shape."""
    found: list[float] = []
    target: Grid = ()
    for grid in grids:
        if grid.label == "target":
            target = grid.rows
            found.append(0.0)
        elif grid.right is not None and [len(row) for row in grid.rows] == [len(row) for row in target]:
            pairs = [(a, b) for rows in zip(grid.rows, target, strict=True) for a, b in zip(*rows, strict=True)]
            found[-1] = max(found[-1], fmean(a == b for a, b in pairs))
    return found


def draw(title: str, grids: Sequence[Picture], number: int) -> Markup:
    """A task's grids side by side, labelled; a right answer is framed."""
    widths = [max(len(grid.rows[0]) if grid.rows else 1, 4) * _CELL for grid in grids]
    height = max((len(grid.rows) for grid in grids), default=1)
    words = ", ".join(f"{grid.label} {_verdict(grid.right)}".strip() for grid in grids)
    drawing = Drawing(f"task-{number}", sum(widths) + _GAP * (len(grids) - 1) + 4, height * _CELL + 20, title, words)
    left = 2.0
    for grid, width in zip(grids, widths, strict=True):
        drawing.text(left, 11, f"{grid.label} {'✓' if grid.right else '✗' if grid.right is False else ''}", "tick")
        _grid(drawing, grid.rows, left, 16)
        if grid.right and grid.rows:
            wide, tall = len(grid.rows[0]) * _CELL, len(grid.rows) * _CELL
            drawing.add("rect", x=left, y=16, width=wide, height=tall, class_="right-grid")
        left += width + _GAP
    return drawing.markup("chart puzzle")


def _verdict(right: bool | None) -> str:
    return "" if right is None else "right" if right else "wrong"


def _grid(drawing: Drawing, rows: Grid, left: float, top: float) -> None:
    """One path a colour, made of its runs: a large grid stays small on the page."""
    if not rows:
        drawing.text(left, top + _CELL, "no grid", "tick")
        return
    runs: dict[int, list[str]] = defaultdict(list)
    for y, row in enumerate(rows):
        start = 0
        for x in range(1, len(row) + 1):
            if x == len(row) or row[x] != row[start]:
                width = (x - start) * _CELL
                runs[row[start]].append(f"M{left + start * _CELL:g} {top + y * _CELL:g}h{width}v{_CELL}h-{width}z")
                start = x
    for colour, own in sorted(runs.items()):
        drawing.add("path", d="".join(own), class_=f"cell-{colour}")
