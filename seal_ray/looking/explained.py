"""All that is on record of one trial, and of its task what the sources here still say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seal_ray.config import Config
from seal_ray.domains.base import Domain, KnownBefore, NeedsQuestions
from seal_ray.domains.drawing import held_out_tasks, training_tasks
from seal_ray.domains.registry import learns, load_domain
from seal_ray.loop.place import PASSAGE
from seal_ray.loop.strategies import asking
from seal_ray.policy.lineage import keeps_apart
from seal_ray.policy.retraction import RETRACTION, RETRACTION_ELSEWHERE
from seal_ray.record.continual import CONTINUAL, ELSEWHERE, way_of
from seal_ray.record.journal import Journal
from seal_ray.record.methods import METHODS
from seal_ray.record.rows import KeptRow, OutcomeRow, PlannedRow, QuestionRow, SelfEditRow, prompt_text
from seal_ray.record.storage import Store
from seal_ray.record.written import OF_TEXTS, ORACLE, SCREENING, round_number
from seal_ray.report.rounds import place_of
from seal_ray.rundir.directory import recorded_config
from seal_ray.rundir.tuned import STAGE as STAGE_OF_SETTINGS
from seal_ray.types import DataError, Prompt, Recipe, Task, UserError
from seal_ray.update.base import updates

_ASKED_WHILE_LEARNT = "questions of documents are put together only while they are learnt"
_NO_TEXT = "no self-edit is on record"
OF_A_LESSON = "a library shares questions out to its lessons; which of them these were, and whose, is not on record"
_IN_TURN = (CONTINUAL, ELSEWHERE, RETRACTION, RETRACTION_ELSEWHERE)
"""Stages in which passages that were learnt in turn are asked."""
OF_A_METHOD = "it is of a method, which may have had many texts written; `seal-ray methods` measures it"
OF_SETTINGS = "it is of `seal-ray tune`, which draws tasks of its own and says what its trials came to"
TOGETHER = "one adapter was trained on all held-out texts at once (evaluation.joint)"


@dataclass(frozen=True)
class Explained:
    """One trial, and whatever could be found of it."""

    key: str
    places: tuple[PlannedRow, ...]
    """Where in the run its outcome is wanted; none for questions that are no task's."""
    outcome: OutcomeRow | None
    before: OutcomeRow | None
    """The same questions, answered without training."""
    before_by: str
    """Where in the run: of what the trial started from, or of the base where that was not asked."""
    edit: SelfEditRow | None
    kept: bool
    """Whether the self-edit was kept for its round's update."""
    config: Config
    task: Task | None
    questions: tuple[Prompt, ...]
    """As they were asked."""
    recipe: Recipe | None
    unknown: str = ""
    """Why task, questions or recipe are not known here, without which it cannot be done again."""
    no_recipe: str = ""
    """Why no recipe can be made of its text; a trial that failed by that fails so again."""

    @property
    def place(self) -> PlannedRow:
        """The place that wanted it first."""
        return self.places[0]

    @property
    def hindrance(self) -> str:
        """Why it cannot be done again alone; empty where it can."""
        if self.outcome is None:
            return "it has not ended, so there is nothing to hold it to"
        if self.unknown:
            return self.unknown
        if self.config.trial.eval_engine != "bank":
            return f"its questions were answered by {self.config.trial.eval_engine} (trial.eval_engine), not by a bank"
        if not self.outcome.failure and not self.is_recorded_recipe:
            return self.no_recipe or "what the config names here makes another recipe than the run trained"
        return ""

    @property
    def note(self) -> str:
        """What is missing here, and why; empty where nothing is."""
        return self.unknown or self.no_recipe

    @property
    def text(self) -> str | None:
        """The self-edit that was tried; a search for the best decision calls its arms by it."""
        if self.edit:
            return None if self.edit.refused else self.edit.completion
        return self.place.arm if self.place.stage == ORACLE else None

    @property
    def strategy(self) -> str:
        """The strategy that the self-edit was written with."""
        return self.edit.strategy if self.edit else ""

    @property
    def baseline(self) -> str:
        """The baseline that it is, or empty."""
        return self.place.arm if self.places and is_baseline(self.place, self.config) else ""

    @property
    def of_base(self) -> bool:
        """Whether it stands on the untouched base, whatever the policy was made of before the first round."""
        return self.place.policy == 0 and (self.place.stage == ORACLE or bool(self.baseline))

    @property
    def is_recorded_recipe(self) -> bool:
        """Whether the recipe made here is the one that the run trained."""
        return (self.recipe.key if self.recipe else "") == self.place.recipe


def explain(directory: str, key: str) -> Explained:
    """What is known of the trial of this key."""
    config, journal = recorded_config(directory), Journal(Store(directory))
    planned = list(journal.read(PlannedRow))
    places = tuple(row for row in planned if row.trial == key)
    row = places[0] if places else None
    before = _before(row, planned, config) if row else None
    wanted = {key, before.trial} if before else {key}
    outcomes = {each.key: each for each in journal.read(OutcomeRow) if each.key in wanted}
    edit = _edit(row, journal, config) if row else None
    kept = {place_of(each) for each in journal.read(KeptRow)}
    known = Explained(
        key=key,
        places=places,
        outcome=outcomes.get(key),
        before=outcomes.get(before.trial) if before else None,
        before_by=f"{before.stage}, {before.arm}, policy {before.policy}" if before else "",
        edit=edit,
        kept=any(place_of(each) in kept for each in places),
        config=config,
        task=None,
        questions=(),
        recipe=None,
    )
    return _with_task(known, journal) if row else replace(known, unknown="its questions are no task's")


def is_baseline(row: PlannedRow, config: Config) -> bool:
    """Whether this place is one of a baseline: of the evaluation, or of documents that are learnt."""
    return row.arm in config.evaluation.baselines or row.arm == PASSAGE


def trains_nothing(row: PlannedRow) -> bool:
    """Whether a task is only asked there."""
    return row.stage in (SCREENING, *_IN_TURN)


def _before(row: PlannedRow, planned: Sequence[PlannedRow], config: Config) -> PlannedRow | None:
    """The place where the task was asked without training: of what the trial started from, or else of the base."""
    if not row.recipe:
        return None
    of_task = [each for each in planned if each.task_id == row.task_id]
    screened = [each for each in of_task if each.stage == SCREENING]
    if config.trial.start == "policy":
        screened = [each for each in screened if each.policy == row.policy]
    base = [each for each in of_task if (each.stage, each.arm) == ("evaluation", "base")]
    return next(iter([*screened, *base]), None)


def _edit(row: PlannedRow, journal: Journal, config: Config) -> SelfEditRow | None:
    """The self-edit that was tried, if one was."""
    if trains_nothing(row) or is_baseline(row, config) or row.stage == METHODS:
        return None
    at = (row.stage, row.task_id, row.index, row.policy)
    for each in journal.read(SelfEditRow):
        if (each.stage, each.task_id, each.index, each.policy) == at:
            return each
    return None


def _with_task(known: Explained, journal: Journal) -> Explained:
    """With task, questions and recipe, as far as the sources that the config names are here and say them."""
    config = known.config
    if known.place.stage == STAGE_OF_SETTINGS:
        return replace(known, unknown=OF_SETTINGS)
    try:
        domain = load_domain(config)
        task = _task(known.place, config, domain, journal)
        shared_out = known.place.stage in _IN_TURN and keeps_apart(way_of(known.place.arm))
    except UserError as error:
        return replace(known, unknown=str(error))
    if learns(config):
        return replace(known, task=task, unknown=_ASKED_WHILE_LEARNT)
    if known.place.stage == METHODS:
        return replace(known, task=task, unknown=OF_A_METHOD)
    if shared_out:
        return replace(known, task=task, unknown=OF_A_LESSON)
    found = replace(known, task=task, questions=domain.questions(task))
    if config.evaluation.joint and known.place.stage == "evaluation" and known.baseline in ("", PASSAGE):
        return replace(found, unknown=TOGETHER)
    try:
        return _with_recipe(found, domain, task)
    except DataError as error:
        return replace(found, no_recipe=f"no recipe: {error}")


def _with_recipe(known: Explained, domain: Domain, task: Task) -> Explained:
    place, config = known.place, known.config
    if known.baseline:
        baseline = domain.baseline(known.baseline, task, place.seed)
        if baseline is None:
            return replace(known, unknown=f"the domain has no baseline {known.baseline!r} for this task any more")
        return replace(known, questions=baseline.questions, recipe=baseline.recipe)
    if trains_nothing(place):
        return known
    if known.text is None:
        return replace(known, unknown=_NO_TEXT)
    try:
        reader = asking(config, domain, known.strategy)
    except UserError as error:
        what = "hint" if config.sampling.playbook else "strategy"
        return replace(known, unknown=f"the domain no longer takes the {what} that it was written with: {error}")
    return replace(known, recipe=reader.recipe(task, known.text, place.seed))


def _task(row: PlannedRow, config: Config, domain: Domain, journal: Journal) -> Task:
    """The task, drawn as the run drew it."""
    number = round_number(row.stage)
    if learns(config):
        tasks = domain.tasks("train", None, config.run.seed)
    elif row.stage in (ELSEWHERE, RETRACTION_ELSEWHERE):
        tasks = domain.known_before() if isinstance(domain, KnownBefore) else ()
    elif number is not None or row.stage in (SCREENING, OF_TEXTS):
        known = [number or row.policy + 1] if updates(config) or number else range(1, config.run.rounds + 1)
        tasks = [task for round_ in known for task in training_tasks(config, domain, round_)]
    else:
        tasks = held_out_tasks(config, domain)
    task = next((task for task in tasks if task.id == row.task_id), None)
    if task is None:
        raise UserError(f"{row.task_id}: no such task is drawn from what the config names here")
    return task if learns(config) else _with_questions(task, domain, journal)


def _with_questions(task: Task, domain: Domain, journal: Journal) -> Task:
    """The task with the questions that a model wrote, where it came without any."""
    if not isinstance(domain, NeedsQuestions) or (prompt := domain.question_prompt(task)) is None:
        return task
    asked = prompt_text(prompt)
    for written in journal.read(QuestionRow):
        if (written.task_id, written.prompt) == (task.id, asked):
            return domain.with_questions(task, written.completion) or task
    return task
