"""What the runner puts on record, whatever becomes of its workers."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from seal_ray.config import load
from seal_ray.domains.registry import load_domain
from seal_ray.events import Events
from seal_ray.loop.trials import TrialRunner
from seal_ray.loop.workshop import Workshop
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow
from seal_ray.record.storage import Store
from seal_ray.selection.reliability import Prior, Rewards
from seal_ray.selection.rules import Candidate, best, cover
from seal_ray.types import Completion, Failure, Outcome, SampleRequest, Task, Trial, UserError
from seal_ray.workers.cluster import RayCluster
from tests.runs import CONFIG, small_run

JOBS = CONFIG.parent


class OneFatalPrompt:
    """Workers that die of one prompt, and serve every other."""

    def __init__(self, fatal: object) -> None:
        self._fatal = fatal

    async def sample(self, request: SampleRequest) -> Completion:
        if request.prompt == self._fatal:
            return Completion("", 0, finished=False, refused="set aside: its worker was lost 5 times")
        return Completion("a note", 2, finished=True)

    async def run_trial(self, trial: Trial) -> Outcome:
        return Outcome(trial.key, answers=("",) * len(trial.questions))


def test_a_prompt_that_kills_every_sampler_costs_its_own_self_edits_and_the_round_goes_on(tmp_path: Path) -> None:
    config = small_run(tmp_path)
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    doomed, *others = domain.tasks("train", 3, seed=1)
    cluster = cast(Any, OneFatalPrompt(domain.prompt(doomed)))
    runner = TrialRunner(Workshop(config, domain, cast(RayCluster, cluster), journal, Events(journal)))

    found = asyncio.run(runner.explore(1, [doomed, *others], with_rewards=True))

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

    async def run_trial(self, trial: Trial) -> Outcome:
        self.trials.append(trial)
        right = self._task.questions[0].answer if trial.task_id == self._task.id else ""
        return Outcome(trial.key, answers=(right,))


def test_a_task_that_is_solved_without_training_is_left_out_and_asked_once(tmp_path: Path) -> None:
    config = load(CONFIG.parent / "arc_small.toml", ["--run.dir", str(tmp_path)])
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    first, known, last = domain.tasks("train", 3, seed=1)
    cluster = KnowsOne(known)
    runner = TrialRunner(Workshop(config, domain, cast(RayCluster, cluster), journal, Events(journal)))

    assert asyncio.run(runner.unsolved([first, known, last])) == [first, last]
    assert asyncio.run(runner.unsolved([first, known, last])) == [first, last]
    assert [trial.recipe for trial in cluster.trials] == [None] * 3


class Halves:
    """Workers whose trials answer the first half of the questions, or the second, by the number of the self-edit."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = {task.id: task for task in tasks}

    async def sample(self, request: SampleRequest) -> Completion:
        return Completion(f"note {request.seed}", 2, finished=True)

    async def run_trial(self, trial: Trial) -> Outcome:
        answers = [question.answer for question in self._tasks[trial.task_id].questions]
        half = len(answers) // 2
        first, second = [*answers[:half], *[""] * half], [*[""] * half, *answers[half:]]
        if trial.recipe is None:
            return Outcome(trial.key, answers=("",) * len(answers))
        note = int(trial.recipe.examples[-1].completion.split()[-1])
        return Outcome(trial.key, answers=tuple(first if note % 2 else second))


def test_a_candidate_knows_which_questions_it_taught_so_that_a_set_can_be_kept_that_teaches_all(tmp_path: Path) -> None:
    config = small_run(tmp_path, "--sampling.per_task", "6")
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    tasks = domain.tasks("train", 2, seed=1)
    runner = TrialRunner(Workshop(config, domain, cast(Any, Halves(tasks)), journal, Events(journal)))
    found = asyncio.run(runner.explore(1, tasks, with_rewards=True))
    for task in tasks:
        kept = cover(found[task.id], 0)
        assert [len(c.questions) for c in kept] == [6, 6]
        assert frozenset.union(*(c.questions for c in kept)) == set(range(12))
        assert {c.before for c in kept} == {(0.0,) * 12}


class Cuts:
    """A worker to whom every text is too long."""

    async def run_trial(self, trial: Trial) -> Outcome:
        return Outcome(trial.key, answers=("",) * len(trial.questions), warnings=("text 0: 9 tokens cut to 8",))


def test_what_a_worker_has_to_say_of_a_task_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = small_run(tmp_path, "--evaluation.seeds", "3")
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    runner = TrialRunner(Workshop(config, domain, cast(Any, Cuts()), journal, Events(journal)))
    tasks = domain.tasks("test", 2, seed=1)
    asyncio.run(runner.measure_baseline("passage only", tasks))
    assert len(list(journal.rows("outcomes"))) == 6
    assert sorted(caplog.messages) == sorted(f"{task.id}: text 0: 9 tokens cut to 8" for task in tasks)


class Scores:
    """A worker to whom every statement is as likely as the last."""

    async def run_trial(self, trial: Trial) -> Outcome:
        return Outcome(trial.key, log_likelihoods=(-1.0,) * len(trial.statements))


def by_likelihood(folder: Path, *more: str) -> tuple[TrialRunner, Journal]:
    config = load(JOBS / "knowledge_small.toml", ["--run.dir", str(folder), "--grading.name", "likelihood", *more])
    cluster = cast(RayCluster, cast(Any, Scores()))
    journal = Journal(Store(str(folder)))
    return TrialRunner(Workshop(config, load_domain(config), cluster, journal, Events(journal))), journal


def test_by_likelihood_only_what_statements_can_tell_is_measured(tmp_path: Path) -> None:
    passages = ["--domain.options.train", str(JOBS / "passages.jsonl")]
    runner, journal = by_likelihood(tmp_path / "a", *passages)
    tasks = runner._domain.tasks("test", 2, seed=1)
    asyncio.run(runner.measure_baseline("base", tasks))
    assert {row.reward for row in journal.read(OutcomeRow)} == {math.exp(-1)}
    with pytest.raises(UserError, match="baselines: 'in-context' asks questions in a way of its own"):
        asyncio.run(runner.measure_baseline("in-context", tasks))
    with pytest.raises(UserError, match="joint asks"):
        asyncio.run(runner.measure_joint("passage only", tasks, with_edits=False))


def test_a_domain_without_statements_is_not_graded_by_their_likelihood(tmp_path: Path) -> None:
    runner, _ = by_likelihood(tmp_path, "--domain.name", "microworld", "--domain.options", "{}")
    with pytest.raises(UserError, match="the domain 'microworld' has no statements; choose another grader"):
        asyncio.run(runner.measure_baseline("base", runner._domain.tasks("test", 1, seed=1)))


class FailsOnSome:
    """Workers whose trials of odd self-edits fail, and of the others earn half of the questions."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._gold = {task.id: [question.answer for question in task.questions] for task in tasks}

    async def sample(self, request: SampleRequest) -> Completion:
        return Completion(f"note {request.seed}", 2, finished=True)

    async def run_trial(self, trial: Trial) -> Outcome:
        if trial.recipe and int(trial.recipe.examples[-1].completion.split()[-1]) % 2:
            return Outcome(trial.key, failure=Failure("data", "the loss is not finite at step 3"))
        gold = self._gold[trial.task_id]
        right = len(gold) // 2 if trial.recipe else 0
        return Outcome(trial.key, answers=(*gold[:right], *[""] * (len(gold) - right)))


def test_failed_self_edits_are_not_kept_and_say_nothing_about_the_rewards_of_the_next_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_run(tmp_path, "--sampling.per_task", "6")
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    tasks = domain.tasks("train", 3, seed=1)
    runner = TrialRunner(Workshop(config, domain, cast(Any, FailsOnSome(tasks)), journal, Events(journal)))
    believed: list[Rewards] = []

    def estimate(rewards: Rewards, start: Prior | None = None) -> Prior:
        believed.append(list(rewards))
        return Prior()

    monkeypatch.setattr("seal_ray.selection.experience.Prior.estimate", estimate)

    found = asyncio.run(runner.explore(1, tasks, with_rewards=True))
    asyncio.run(runner.explore(2, tasks, with_rewards=True))

    every = [candidate for candidates in found.values() for candidate in candidates]
    assert {candidate.problem for candidate in every} == {"", "the loss is not finite at step 3"}
    assert all(candidate.taught == (not candidate.problem) for candidate in every)
    (rewards,) = believed
    assert {reward for task in rewards for candidate in task for reward in candidate} == {0.5}
    assert sum(map(len, rewards)) == sum(candidate.taught for candidate in every)


class LearnsFromLongNotes(FailsOnSome):
    """Workers that write notes of one to four lines, and having learnt one answer as many quarters of questions."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks)
        self.trained = 0

    async def sample(self, request: SampleRequest) -> Completion:
        lines = 1 + request.seed % 4
        text = "\n".join(f"note {request.seed} {line}" for line in range(lines))
        return Completion(text, 5 * lines, finished=True)

    async def run_trial(self, trial: Trial) -> Outcome:
        gold = self._gold[trial.task_id]
        self.trained += trial.recipe is not None
        lines = sum(text.completion.startswith("note") for text in trial.recipe.examples) if trial.recipe else 0
        right = len(gold) * lines // 4
        return Outcome(trial.key, answers=(*gold[:right], *[""] * (len(gold) - right)))


def test_what_is_foreseen_to_earn_less_is_not_tried_from_the_second_round_on_and_a_run_that_continues_says_the_same(
    tmp_path: Path,
) -> None:
    config = small_run(tmp_path, "--sampling.per_task", "4", "--selection.foresee", "0.01")
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    tasks = domain.tasks("train", 16, seed=1)

    def explored(workers: LearnsFromLongNotes) -> list[dict[str, list[Candidate]]]:
        runner = TrialRunner(Workshop(config, domain, cast(Any, workers), journal, Events(journal)))
        rounds = (tasks[:8], tasks[8:])
        return [asyncio.run(runner.explore(n, some, with_rewards=True)) for n, some in enumerate(rounds, 1)]

    workers = LearnsFromLongNotes(tasks)
    first, second = found = explored(workers)
    assert all(candidate.rewards for own in first.values() for candidate in own)
    spared = [candidate for own in second.values() for candidate in own if not candidate.rewards]
    assert len(spared) >= 8
    assert workers.trained == 64 - len(spared)
    for own in second.values():
        longest = max(len(candidate.edit.completion.splitlines()) for candidate in own)
        (kept,) = best(own, 0)
        assert len(kept.edit.completion.splitlines()) == longest, "what teaches most was tried"
    again = LearnsFromLongNotes(tasks)
    assert explored(again) == found
    assert again.trained == 0, "all of it was on record"


class KnowsHalf(FailsOnSome):
    """Workers that answer half of every task's questions rightly, and no more after any training."""

    async def run_trial(self, trial: Trial) -> Outcome:
        gold = self._gold[trial.task_id]
        return Outcome(trial.key, answers=(*gold[: len(gold) // 2], *[""] * (len(gold) - len(gold) // 2)))


@pytest.mark.parametrize("race", ["0", "6"])
def test_self_edits_that_earn_what_their_task_scores_untrained_have_taught_nothing(tmp_path: Path, race: str) -> None:
    config = small_run(tmp_path, "--selection.race", race)
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    tasks = domain.tasks("train", 2, seed=1)
    runner = TrialRunner(Workshop(config, domain, cast(Any, KnowsHalf(tasks)), journal, Events(journal)))

    found = asyncio.run(runner.explore(1, tasks, with_rewards=True))

    every = [candidate for candidates in found.values() for candidate in candidates]
    assert {reward for candidate in every for reward in candidate.rewards} == {0.5}
    assert not any(candidate.taught for candidate in every)


class WritesOnWhenOneIsTried(OneFatalPrompt):
    """Workers that write a task's second self-edit only when a trial of its first has begun."""

    def __init__(self) -> None:
        super().__init__(fatal=None)
        self._written, self._begun = 0, asyncio.Event()

    async def sample(self, request: SampleRequest) -> Completion:
        self._written += 1
        if self._written > 1:
            await self._begun.wait()
        return Completion(f"note {request.seed}", 2, finished=True)

    async def run_trial(self, trial: Trial) -> Outcome:
        if trial.recipe:
            self._begun.set()
        return await super().run_trial(trial)


@pytest.mark.parametrize("race", ["0", "6"], ids=["fixed seeds", "race"])
def test_a_trial_begins_when_its_self_edit_is_written_whatever_becomes_of_the_others(tmp_path: Path, race: str) -> None:
    config = small_run(tmp_path, "--selection.race", race)
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    cluster = cast(RayCluster, WritesOnWhenOneIsTried())
    runner = TrialRunner(Workshop(config, domain, cluster, journal, Events(journal)))
    tasks = domain.tasks("train", 1, seed=1)

    found = asyncio.run(asyncio.wait_for(runner.explore(1, tasks, with_rewards=True), 60))

    assert [len(candidate.rewards) > 0 for candidate in found[tasks[0].id]] == [True] * 3


class ClosesUnderWay(OneFatalPrompt):
    """Workers whose pool is closed while a trial is under way, as where a run is told to stop."""

    def __init__(self) -> None:
        super().__init__(fatal=None)
        self.begun, self.closed = asyncio.Event(), asyncio.Event()

    async def run_trial(self, trial: Trial) -> Outcome:
        self.begun.set()
        await self.closed.wait()
        raise RuntimeError("the trainer pool is closed")


def test_a_trial_that_nobody_waits_for_any_more_is_not_complained_of_when_the_run_has_stopped(tmp_path: Path) -> None:
    complaints: list[dict[str, Any]] = []

    async def stopped() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
        config = small_run(tmp_path)
        domain, cluster = load_domain(config), ClosesUnderWay()
        journal = Journal(Store(str(tmp_path)))
        runner = TrialRunner(Workshop(config, domain, cast(RayCluster, cluster), journal, Events(journal)))
        exploring = asyncio.create_task(runner.explore(1, domain.tasks("train", 1, seed=1), with_rewards=True))
        await cluster.begun.wait()
        exploring.cancel()
        await asyncio.wait([exploring])
        cluster.closed.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        del runner, exploring
        gc.collect()

    asyncio.run(stopped())
    assert not complaints


class FullDisk:
    """Writes one self-edit, and is at the next ones for good; every trial ends in an error."""

    def __init__(self) -> None:
        self._written = 0

    async def sample(self, request: SampleRequest) -> Completion:
        self._written += 1
        if self._written > 1:
            await asyncio.Event().wait()
        return Completion("a note", 2, finished=True)

    async def run_trial(self, trial: Trial) -> Outcome:
        if trial.recipe is None:
            await asyncio.Event().wait()
        raise UserError("the disk is full")


def test_an_error_of_a_trial_is_the_one_that_ends_the_round_though_others_wait_for_self_edits(tmp_path: Path) -> None:
    config = small_run(tmp_path)
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    runner = TrialRunner(Workshop(config, domain, cast(Any, FullDisk()), journal, Events(journal)))
    with pytest.raises(UserError, match="the disk is full"):
        asyncio.run(runner.explore(1, domain.tasks("train", 1, seed=1), with_rewards=True))
