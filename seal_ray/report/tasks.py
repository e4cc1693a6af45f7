"""The tasks of a run, made again from what its config names: titles, questions and right answers are not on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from seal_ray.config import Config
from seal_ray.domains.base import Domain, NeedsQuestions
from seal_ray.domains.drawing import held_out_tasks, training_tasks
from seal_ray.domains.registry import DOMAINS, LIKELIHOOD, STUDIED, load_domain
from seal_ray.grading import GRADERS
from seal_ray.model import fingerprint
from seal_ray.record.journal import Journal
from seal_ray.record.rows import QuestionRow, prompt_text
from seal_ray.record.written import round_number
from seal_ray.report.sanitize import shown
from seal_ray.sources import source_paths
from seal_ray.types import DataError, Task, UserError


class Tasks:
    """Looks tasks up. Nothing is known where a source is gone, is another than it was, or lies on the hub."""

    def __init__(self, config: Config | None, contents: Mapping[str, str], journal: Journal) -> None:
        """`contents` are the hashes of the sources that the run read."""
        self._config, self._contents, self._journal = config, contents, journal
        self._drawn: dict[int, dict[str, Task]] = {}

    @cached_property
    def domain(self) -> Domain | None:
        """The run's domain, if it is one of the project's: a plug-in's code is not run for the sake of a page."""
        config = self._config
        if config is None or config.domain.name not in (*DOMAINS, STUDIED):
            return None
        if config.grading.name not in (*GRADERS, "domain", LIKELIHOOD):
            return None
        try:
            domain = load_domain(config)
            return domain if _unchanged(domain, self._contents) else None
        except (UserError, OSError):
            return None

    @cached_property
    def held_out(self) -> Sequence[Task]:
        """The tasks that the policy never learns from."""
        config, domain = self._config, self.domain
        if config is None or domain is None:
            return ()
        try:
            return held_out_tasks(config, domain)
        except (UserError, OSError, ValueError):
            return ()

    def title(self, stage: str, task_id: str) -> str:
        """What a reader may call a task: its title where that is known, or its id."""
        task = self._find(stage, task_id)
        return shown(task.title if task and task.title else task_id, 120)

    def task(self, stage: str, task_id: str) -> Task | None:
        """The task with all its questions, also those that a model wrote."""
        task = self._find(stage, task_id)
        return task if task is None or task.questions else self._with_questions(task)

    def asked(self, stage: str, task_id: str, count: int) -> Sequence[tuple[str, str]]:
        """The questions of a trial, each with its right answer where it has one; nothing where others were asked."""
        task, domain = self.task(stage, task_id), self.domain
        if task is None or domain is None or not task.questions or len(prompts := domain.questions(task)) != count:
            return ()
        gold = [question.answer for question in task.questions]
        texts = [prompt_text(prompt) for prompt in prompts]
        return list(zip(texts, gold if len(gold) == count else [""] * count, strict=True))

    def _find(self, stage: str, task_id: str) -> Task | None:
        number = round_number(stage)
        if number is None and (task := self._held_out.get(task_id)):
            return task
        return self._of_round(number or 1).get(task_id)  # documents that are learnt are asked about themselves

    @cached_property
    def _held_out(self) -> dict[str, Task]:
        return {task.id: task for task in self.held_out}

    def _of_round(self, number: int) -> dict[str, Task]:
        config, domain = self._config, self.domain
        if config is None or domain is None:
            return {}
        number = number if config.domain.fresh else 1
        if number not in self._drawn:
            try:
                self._drawn[number] = {task.id: task for task in training_tasks(config, domain, number)}
            except (UserError, OSError, ValueError):
                self._drawn[number] = {}
        return self._drawn[number]

    def _with_questions(self, task: Task) -> Task:
        domain = self.domain
        if not isinstance(domain, NeedsQuestions) or (prompt := domain.question_prompt(task)) is None:
            return task
        written = self._written.get((task.id, prompt_text(prompt)))
        try:
            return (domain.with_questions(task, written) if written else None) or task
        except DataError:
            return task

    @cached_property
    def _written(self) -> dict[tuple[str, str], str]:
        rows = self._journal.read(QuestionRow)
        return {(row.task_id, row.prompt): row.completion for row in rows}


def _unchanged(domain: Any, contents: Mapping[str, str]) -> bool:
    """Whether every source is a file of this machine that holds what it held when the run read it."""
    sources = source_paths(domain)
    return all(
        Path(path).exists() and contents.get(f"domain.options.{name}") == fingerprint.of_path(Path(path))
        for name, path in sources.items()
    )
