"""How a task is put to a model: several views of each test input, the answers mapped back, and two attempts by vote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from seal_ray.domains.arc.augment import Augment, Flip, Identity, Rotate, Transpose
from seal_ray.domains.arc.files import ArcTask
from seal_ray.domains.arc.grids import Grid, cell_accuracy, read_grid, to_array, to_grid
from seal_ray.domains.arc.messages import SYSTEM, chat
from seal_ray.types import Chat

AS_GIVEN = Identity()
TRANSFORMED: tuple[Augment, ...] = (Transpose(), Flip(0), Flip(1), Rotate(90), Rotate(180))


@dataclass(frozen=True)
class View:
    """One view of a test input: the demonstrations shown, and the transformation everything went through."""

    test: int
    shown: tuple[int, ...]
    change: Augment = AS_GIVEN

    def prompt(self, task: ArcTask, template: str = SYSTEM) -> Chat:
        demos = [
            (self.change.apply(to_array(task.demos[i].input)), self.change.apply(to_array(task.demos[i].output)))
            for i in self.shown
        ]
        return chat(demos, self.change.apply(to_array(task.tests[self.test])), template)

    def read(self, answer: str) -> Grid | None:
        """The answer's grid, mapped back to how the task was given; None when it holds none."""
        grid = read_grid(answer)
        return None if grid is None else to_grid(self.change.invert(to_array(grid)))


def views(task: ArcTask) -> tuple[View, ...]:
    """For each test input: the task as it is, with each demonstration left out in turn, and transformed."""
    everything = tuple(range(len(task.demos)))
    shown = [everything]
    if len(everything) > 1:
        shown += [everything[:i] + everything[i + 1 :] for i in everything]
    return tuple(
        view
        for test in range(len(task.tests))
        for view in (
            *(View(test, part) for part in shown),
            *(View(test, everything, change) for change in TRANSFORMED),
        )
    )


def vote(predictions: Sequence[Grid | None]) -> tuple[Grid, ...]:
    """At most two grids, the most frequent first; of equally frequent ones, the one seen first."""
    counts = Counter(grid for grid in predictions if grid is not None)
    return tuple(grid for grid, _ in counts.most_common(2))


@dataclass(frozen=True)
class Answered:
    """What a task's answers result in, per test input unless said otherwise."""

    attempts: tuple[tuple[Grid, ...], ...]
    solved: tuple[bool, ...]
    """Either attempt equals the solution."""
    cells: tuple[float, ...]
    """Share of cells right, of the better attempt."""
    verdicts: tuple[float, ...]
    """Per view: its own prediction equals the solution."""
    malformed: int
    """Answers that hold no grid."""


def attempts(task: ArcTask, trials: Sequence[Sequence[str]]) -> tuple[tuple[Grid, ...], ...]:
    """Two attempts for each test input, by vote over all views that any of these trials answered."""
    asked = views(task)
    read = [(view.test, view.read(answer)) for own in trials for view, answer in zip(asked, own, strict=True)]
    return tuple(vote([grid for test, grid in read if test == number]) for number in range(len(task.tests)))


def describe(task: ArcTask, answers: Sequence[str]) -> Answered:
    """Read, map back, vote and compare; nothing is solved where the task has no solutions."""
    asked = views(task)
    if len(answers) != len(asked):
        raise ValueError(f"{task.id}: {len(answers)} answers to {len(asked)} views")
    predictions = [view.read(answer) for view, answer in zip(asked, answers, strict=True)]
    voted = attempts(task, [answers])
    targets: Sequence[Grid | None] = task.solutions or [None] * len(task.tests)
    return Answered(
        attempts=voted,
        solved=tuple(target in own for target, own in zip(targets, voted, strict=True)),
        cells=tuple(
            max((cell_accuracy(attempt, target) for attempt in own), default=0.0) if target else 0.0
            for target, own in zip(targets, voted, strict=True)
        ),
        verdicts=tuple(
            float(grid is not None and grid == targets[view.test])
            for view, grid in zip(asked, predictions, strict=True)
        ),
        malformed=sum(grid is None for grid in predictions),
    )
