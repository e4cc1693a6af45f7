"""The answers to a run's held-out questions as another grader has them: nothing is trained, and nothing asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from seal_ray import grading
from seal_ray.config import Config
from seal_ray.config.sections import Grading
from seal_ray.domains.drawing import held_out_tasks
from seal_ray.domains.registry import load_domain
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.record.summary import synthetic
from seal_ray.types import DataError, Prompt, UserError


def regraded(config: Config, journal: Journal, grader: str) -> dict[str, float]:
    """The reward of each held-out trial of a run that did not fail, by its key, from this grader's verdicts."""
    directory = config.run.dir
    task_of = {row.trial: row.task_id for row in journal.read(PlannedRow) if row.stage == "evaluation"}
    if synthetic(journal) & set(task_of.values()):
        raise UserError(
            f"{directory}: --grader: a model wrote held-out questions of it, which are graded in the run alone"
        )
    named = config.grading if config.grading.name == grader else Grading(name=grader)
    domain = load_domain(replace(config, grading=named))
    tasks = {task.id: task for task in held_out_tasks(config, domain)}
    if gone := sorted(set(task_of.values()) - tasks.keys()):
        raise UserError(
            f"{directory}: --grader: {len(gone)} of its held-out tasks, {gone[0]!r} the first, are no longer in what "
            "domain.options of its config.json name; put that back as it was when the run began, or leave --grader out"
        )
    found = {}

    async def grade() -> None:
        async with grading.at_work(grading.grader_of(domain), _no_model):
            for row in journal.read(OutcomeRow):
                if row.key in task_of and not row.failure:
                    try:
                        found[row.key] = (await domain.grade(tasks[task_of[row.key]], row.answers)).reward
                    except DataError as error:
                        raise UserError(f"{directory}: --grader {grader!r}: {error}") from None

    asyncio.run(grade())
    return found


async def _no_model(prompts: Sequence[Prompt], tokens: int) -> Sequence[str]:
    raise UserError("--grader: this one asks the run's own model, which is not started for it")
