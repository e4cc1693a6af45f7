"""What the lab puts on record, whatever becomes of its workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from seal_ray.config import load
from seal_ray.domains.registry import load_domain
from seal_ray.lab import Lab
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.types import Completion, Outcome, SampleRequest, Task, Trial
from seal_ray.ui import Silent
from seal_ray.workers.crew import Crew
from seal_ray.workers.losses import Poisoned
from tests.runs import CONFIG, small_run


class OneFatalPrompt:
    """Workers that die of one prompt, and serve every other."""

    def __init__(self, fatal: object) -> None:
        self._fatal = fatal

    async def sample(self, request: SampleRequest) -> Completion:
        if request.prompt == self._fatal:
            raise Poisoned("its worker was lost 5 times")
        return Completion("a note", 2, finished=True)

    async def attempt(self, trial: Trial) -> Outcome:
        return Outcome(trial.key, answers=("",) * len(trial.questions))


def test_a_prompt_that_kills_every_sampler_costs_its_own_self_edits_and_the_round_goes_on(tmp_path: Path) -> None:
    config = small_run(tmp_path)
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    doomed, *others = domain.tasks("train", 3, seed=1)
    crew = cast(Any, OneFatalPrompt(domain.prompt(doomed)))
    lab = Lab(config, domain, cast(Crew, crew), journal, Silent())

    found = asyncio.run(lab.explore(1, [doomed, *others], with_rewards=True))

    assert [candidate.edit.completion for candidate in found[doomed.id]] == [""] * config.sampling.per_task
    assert all(candidate.edit.completion == "a note" for task in others for candidate in found[task.id])
    failed = [row for row in journal.rows("outcomes") if row["failure"]]
    assert {row["failure"] for row in failed} == {"data"}
    assert len(failed) >= config.sampling.per_task
    assert all(row["reward"] == 0 for row in failed)


class KnowsOne:
    """A worker that answers one task rightly, and no other."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.trials: list[Trial] = []

    async def attempt(self, trial: Trial) -> Outcome:
        self.trials.append(trial)
        right = self._task.questions[0].answer if trial.task_id == self._task.id else ""
        return Outcome(trial.key, answers=(right,))


def test_a_task_that_is_solved_without_training_is_left_out_and_asked_once(tmp_path: Path) -> None:
    config = load(CONFIG.parent / "arc_small.toml", ["--run.dir", str(tmp_path)])
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    first, known, last = domain.tasks("train", 3, seed=1)
    crew = KnowsOne(known)
    lab = Lab(config, domain, cast(Crew, crew), journal, Silent())

    assert asyncio.run(lab.unsolved([first, known, last])) == [first, last]
    assert asyncio.run(lab.unsolved([first, known, last])) == [first, last]
    assert [trial.recipe for trial in crew.trials] == [None] * 3
