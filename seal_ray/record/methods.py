"""What each method of learning a text came to: what was answered, what it cost, and how varied its texts are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from statistics import fmean
from typing import Any, NamedTuple

from seal_ray.plain import counted
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow, SkillRow, StudyRow
from seal_ray.record.summary import FEWEST, by_task, interval
from seal_ray.record.variety import variety

METHODS = "methods"
"""The stage in which methods are measured."""
TRIALS = f"{METHODS}: trials"
AGAINST = "passage"
"""The method whose figure the others' differences are told from."""
PAST, SKILL = "past", "skill"
"""The method that learns a skill once; and what of a run belongs to that."""
TOGETHER = "all together"
"""What is trained on all tasks at once."""


class Arm(NamedTuple):
    """A method as it is measured."""

    method: str
    texts: int = 0
    """How many it may have written of a task; 0 for one that has none, or that is held to a budget."""
    budget: int = 0
    """Tokens that it may have written of a task, instead of a number of texts."""
    together: bool = False
    """Whether one adapter learns all tasks at once."""
    trained: int = 0
    """Tokens that it may train on of a task, over all epochs, instead of either."""

    @classmethod
    def of(cls, row: StudyRow) -> Arm:
        return cls(row.method, 0 if row.budget or row.trained else row.texts, row.budget, row.together, row.trained)

    @property
    def held(self) -> bool:
        """Whether a budget decides how many texts it has."""
        return bool(self.budget or self.trained)

    @property
    def name(self) -> str:
        """What its trials are known by."""
        texts = counted(self.texts, "text") if self.texts else ""
        budget = f"{counted(self.budget, 'token')} written" if self.budget else ""
        trained = f"{counted(self.trained, 'token')} trained on" if self.trained else ""
        return ", ".join(filter(None, (self.method, texts, budget, trained, TOGETHER if self.together else "")))


@dataclass
class Learnt:
    """What a method came to on one task."""

    written: int = 0
    """How many texts."""
    trials: list[OutcomeRow] = field(default_factory=list)
    texts: list[SelfEditRow] = field(default_factory=list)
    shared: int = 1
    """Among how many tasks each trial is to be shared out."""
    flops: int | None = None
    """Operations of a token that is trained on."""
    found: float | None = None
    """The share of its questions that found their own text."""

    @property
    def accuracy(self) -> float:
        return fmean(row.reward or 0.0 for row in self.trials)


Tasks = dict[tuple[int, str], Learnt]
"""By the run and the task."""


def learnt(journal: Journal) -> dict[Arm, dict[str, Learnt]]:
    """By method, what is on record of each task."""
    # Of a method that came to be another since, what it came to last counts.
    studies = {(Arm.of(row).name, row.task_id): row for row in journal.read(StudyRow)}
    if not studies:
        return {}  # texts and answers of a run without methods are many, and none of them is read
    outcomes = {row.key: row for row in journal.read(OutcomeRow)}
    edits = {row.key: row for row in journal.read(SelfEditRow)}
    found: dict[Arm, dict[str, Learnt]] = defaultdict(dict)
    for row in studies.values():
        texts = [edits[key] for key in row.edits if key in edits]
        found[Arm.of(row)][row.task_id] = Learnt(row.texts, texts=texts, found=row.found)
    for place in journal.read(PlannedRow):
        study = studies.get((place.arm, place.task_id))
        if place.stage == METHODS and place.trial in outcomes and study and study.recipe == place.recipe:
            found[Arm.of(study)][place.task_id].trials.append(outcomes[place.trial])
    for arm, tasks in found.items():
        for each in tasks.values() if arm.together else ():
            each.shared = len(tasks)
    whole = {arm: {task: each for task, each in tasks.items() if each.trials} for arm, tasks in found.items()}
    return {arm: tasks for arm, tasks in whole.items() if tasks}


def of_trials(
    outcomes: Mapping[str, OutcomeRow], planned: Iterable[PlannedRow], journal: Journal
) -> dict[str, OutcomeRow]:
    """The outcomes without the answers that a skill was learnt from, which are no trials."""
    if not any(journal.read(SkillRow)):
        return dict(outcomes)
    wanted = {row.trial for row in planned}
    return {key: row for key, row in outcomes.items() if key in wanted or row.reward is None}


def by_method(journals: Sequence[Journal], flops: Sequence[int | None] = ()) -> list[dict[str, Any]]:
    """A row for each method and number of texts, over the tasks of all these runs; the fewest texts come first.

    Those of as many texts stand by their names, whatever was measured first. `flops` are of a token that is trained on,
    for each run; a row is without where they are not known of all its tasks.
    """
    pooled: dict[Arm, Tasks] = defaultdict(dict)
    for run, (journal, each_token) in enumerate(zip_longest(journals, flops)):
        for arm, tasks in learnt(journal).items():
            pooled[arm] |= {(run, task): replace(each, flops=each_token) for task, each in tasks.items()}
    arms = sorted(pooled, key=lambda arm: (arm.together, arm.budget, arm.trained, arm.texts, arm.method))
    rows = [_row(arm, pooled[arm], pooled.get(Arm(AGAINST, together=arm.together), {})) for arm in arms]
    for arm, row in zip(arms, rows, strict=True):
        if arm.method == PAST:
            row["skill"] = _of_skill(journals, flops, len(pooled[arm]))
    return rows


def _of_skill(journals: Sequence[Journal], flops: Sequence[int | None], tasks: int) -> dict[str, float]:
    """What learning the skill took over all runs, and under `… each` the share of each task that was measured.

    `trained` and `written` are tokens that were trained on, and those of the answers; `flops` as in the rows.
    """
    taken: dict[str, float] = {"passages": 0, "trained": 0, "written": 0, "flops": 0}
    for journal, each_token in zip_longest(journals, flops):
        for row in journal.read(SkillRow):
            taken["passages"] += row.passages if not row.answers else 0
            taken["trained"] += row.trained
            taken["written"] += row.written
            taken["flops"] += row.trained * (each_token or 0)
    if not all(flops) or len(flops) < len(journals):
        del taken["flops"]
    return taken | {f"{name} each": taken[name] / tasks for name in taken if name != "passages"}


def _row(arm: Arm, tasks: Tasks, plain: Tasks) -> dict[str, Any]:
    accuracies = {task: each.accuracy for task, each in tasks.items()}
    trials = [(trial, each) for each in tasks.values() for trial in each.trials]
    measured = interval(by_task((task, accuracy) for (_, task), accuracy in accuracies.items()))
    row: dict[str, Any] = {
        "method": arm.method,
        "texts": fmean(each.written for each in tasks.values()) if arm.held else arm.texts,
        **({"budget": arm.budget} if arm.budget else {}),
        **({"trained budget": arm.trained} if arm.trained else {}),
        **({"together": True} if arm.together else {}),
        "accuracy": measured.accuracy,
        "tasks": measured.n,
        "failed": fmean(float(bool(trial.failure)) for trial, _ in trials),
        "written": fmean(sum(text.tokens for text in each.texts) for each in tasks.values()),
        "trained": fmean(trial.tokens / each.shared for trial, each in trials),
        "seconds": fmean(trial.seconds / each.shared for trial, each in trials),
    }
    operations = [trial.tokens / each.shared * each.flops for trial, each in trials if each.flops is not None]
    if len(operations) == len(trials):
        row["flops"] = fmean(operations)
    if found := [each.found for each in tasks.values() if each.found is not None]:
        row["own passage found"] = fmean(found)
    if measured.n >= FEWEST:
        row["interval"] = (measured.low, measured.high)
    both = by_task((task[1], accuracies[task] - plain[task].accuracy) for task in tasks if task in plain)
    if len(both) >= FEWEST and arm.method != AGAINST:
        beside = interval(both)
        row["over passage"] = (beside.accuracy, beside.low, beside.high)
    if any(each.texts for each in tasks.values()):
        row |= variety([[text.completion for text in each.texts] for each in tasks.values()])
    return row
