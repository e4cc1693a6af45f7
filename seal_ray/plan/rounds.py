"""A run's outer loop, simulated: sample, try, select, update, measure; again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from seal_ray.config import Config
from seal_ray.plan.clock import Clock, Device
from seal_ray.plan.pool import Driver, Pool
from seal_ray.plan.rates import Rates
from seal_ray.plan.work import Edit, Try, Work
from seal_ray.plan.workers import Bank, Batches, Stream, Worker
from seal_ray.update.base import tries_self_edits

QUEUED_PER_SLOT = 2
"""Trials a trainer holds for each slot, as in `seal_ray.workers.cluster`."""


@dataclass(frozen=True)
class Devices:
    """How many workers, and what they run on."""

    trainers: int
    samplers: int
    per_gpu: tuple[int, int] = (1, 1)
    """Trainers, and samplers, that one GPU holds."""
    shared: bool = False
    """One GPU for a trainer and a sampler both."""
    cores: int = 0
    """CPU cores that all workers share; 0 when they have GPUs."""
    gpus_per_node: int = 1

    def devices(self) -> tuple[list[Device], list[Device]]:
        if self.cores:
            machine = Device(self.cores)
            return [machine] * self.trainers, [machine] * self.samplers
        trainers = [Device(1) for _ in range(-(-self.trainers // self.per_gpu[0]))]
        samplers = trainers if self.shared else [Device(1) for _ in range(-(-self.samplers // self.per_gpu[1]))]
        return (
            [trainers[index // self.per_gpu[0] % len(trainers)] for index in range(self.trainers)],
            [samplers[index // self.per_gpu[1] % len(samplers)] for index in range(self.samplers)],
        )


@dataclass(frozen=True)
class Losses:
    """Nodes go at random, each after `every` seconds on average; one in its place comes `replaced` seconds later."""

    every: float
    replaced: float
    seed: int


@dataclass(frozen=True)
class Stage:
    """What a stage took, and how many seconds of work its workers did in it."""

    name: str
    start: float
    end: float
    training: float
    sampling: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Course:
    """How a simulated run went."""

    stages: tuple[Stage, ...]
    trainers: int
    """Workers that were ever started; the pools ask for no more than their queues need."""
    samplers: int
    trials: int
    samples: int
    losses: int
    repeated: int
    """Calls begun again because their worker was lost."""
    driver: float
    """Seconds of the driver's own work."""

    @property
    def seconds(self) -> float:
        return self.stages[-1].end

    @property
    def training(self) -> float:
        return sum(stage.training for stage in self.stages)

    @property
    def sampling(self) -> float:
        return sum(stage.sampling for stage in self.stages)


def simulate(
    config: Config, work: Work, rates: Rates, cluster: Devices, engine: str, losses: Losses | None = None
) -> Course:
    return _Run(config, work, rates, cluster, engine).run(losses)


class _All:
    """Calls on when so many things are done."""

    def __init__(self, count: int, then: Callable[[], None]) -> None:
        self.left, self.then = count, then
        if not count:
            then()

    def done(self) -> None:
        self.left -= 1
        if not self.left:
            self.then()


class _Run:
    def __init__(self, config: Config, work: Work, rates: Rates, cluster: Devices, engine: str) -> None:
        self.config, self.work, self.rates, self.cluster = config, work, rates, cluster
        self.clock = Clock()
        self.driver = Driver(self.clock, rates.driver)
        self.elsewhere = config.trial.eval_engine == "vllm"
        limit, slots = config.sampling.max_tokens, config.workers.slots

        def bank(clock: Clock, device: Device, done: Callable[..., None]) -> Worker:
            return Bank(slots, clock, device, rates, done)

        def sampler(clock: Clock, device: Device, done: Callable[..., None]) -> Worker:
            if engine == "transformers":
                return Batches(limit, clock, device, rates, done)
            return Stream(clock, device, rates, done)

        trainers, samplers = cluster.devices()
        asked = [edit.prompt + limit for group in (*work.train, *work.test) for edit in group]
        held = max(1, round(config.workers.tokens_in_flight / fmean(asked or [limit])))
        self.trainers = Pool(self.clock, self.driver, trainers, slots * QUEUED_PER_SLOT, rates.start, bank)
        self.samplers = Pool(self.clock, self.driver, samplers, held, rates.start, sampler)
        self.stages: list[Stage] = []
        self.over = False
        self.trials = self.losses = 0
        self._mark = (0.0, 0.0, 0.0)

    def run(self, losses: Losses | None) -> Course:
        if losses:
            self._arrange(losses)
        self._round(1)
        self.clock.run(lambda: self.over)
        repeated = self.trainers.repeated + self.samplers.repeated
        return Course(
            tuple(self.stages),
            self.trainers.started,
            self.samplers.started,
            self.trials,
            self.samplers.calls,
            self.losses,
            repeated,
            self.driver.busy,
        )

    # The loop --------------------------------------------------------------------------------------

    def _round(self, number: int) -> None:
        if number > self.config.run.rounds:
            return self._evaluate(number - 1, lambda: self._finish(number))
        both = _All(2, lambda: self._update(number))
        self._evaluate(number - 1, both.done)
        self._explore(both.done)

    def _update(self, number: int) -> None:
        self._stage(f"round {number}")

        def use() -> None:
            self._stage(f"round {number}: update")
            self._round(number + 1)

        self.trainers.call(self.work.update, lambda: self.clock.after(self.rates.policy, use))

    def _finish(self, number: int) -> None:
        self._stage("evaluation" if number > 1 or not self.stages else "last evaluation")
        self.over = True

    def _explore(self, then: Callable[[], None]) -> None:
        race, seeds = self.config.selection.race, self.config.trial.seeds
        tries = tries_self_edits(self.config)
        groups = self.work.train
        asked = [found[0] for group in groups if (found := [e.tried for e in group if e.tried])] if tries else []
        both = _All(1 + len(asked), then)
        then = both.done
        for job in asked:  # each task without training, which its self-edits are held to
            self._try(replace(job, steps=0, tokens=0.0), both.done)
        if race and tries:
            tasks = _All(len(groups), then)
            for group in groups:
                self._race(group, race, tasks.done)
            return
        edits = [edit for group in groups for edit in group]
        every = _All(len(edits), then)
        for edit in edits:
            self._sample_and_try(edit, seeds if tries else 0, every.done)

    def _sample_and_try(self, edit: Edit, seeds: int, then: Callable[[], None]) -> None:
        def tried() -> None:
            trials = _All(seeds, then)
            for _ in range(seeds):
                self._try_edit(edit, trials.done)

        self.samplers.call(edit, tried)

    def _race(self, group: Sequence[Edit], budget: int, then: Callable[[], None]) -> None:
        """Every candidate once, then one trial at a time, the budget spent whole."""

        def one_more(left: int) -> None:
            if not left:
                return then()
            self._try_edit(group[left % len(group)], lambda: one_more(left - 1))

        def first() -> None:
            count = min(budget, len(group))
            tried = _All(count, lambda: one_more(budget - count))
            for edit in group[:count]:
                self._try_edit(edit, tried.done)

        sampled = _All(len(group), first)
        for edit in group:
            self.samplers.call(edit, sampled.done)

    def _evaluate(self, policy: int, then: Callable[[], None]) -> None:
        baselines = self.work.baselines if policy == 0 else ()
        due = self.config.evaluation.every_round or policy == self.config.run.rounds
        edits = [edit for group in self.work.test for edit in group] if due else []
        seeds, together = self.config.evaluation.seeds, self.work.together
        measured = min(seeds, len(edits)) if together else len(edits)
        every = _All(len(baselines) + measured, then)
        for baseline in baselines:
            self._try(baseline, every.done)

        def all_at_once(job: Try) -> None:
            for _ in range(measured):
                self._try(job, every.done)

        if together and edits:
            sampled = _All(len(edits), lambda: all_at_once(together))
        for edit in edits:
            if together:
                self.samplers.call(edit, sampled.done)
            else:
                self._sample_and_try(edit, seeds, every.done)

    def _try_edit(self, edit: Edit, then: Callable[[], None]) -> None:
        if edit.tried is None or edit.twin:
            self.driver.then(then)
        else:
            self._try(edit.tried, then)

    def _try(self, job: Try, then: Callable[[], None]) -> None:
        self.trials += 1
        if not self.elsewhere:
            return self.trainers.call(job, then)
        ask = Try(0, 0.0, job.rows, job.prompt, job.answer)
        train = Try(job.steps, job.tokens, 0, 0.0, 0)
        self.trainers.call(train, lambda: self.samplers.call(ask, then))

    # What is measured of it ------------------------------------------------------------------------

    def _stage(self, name: str) -> None:
        start, training, sampling = self._mark
        self._mark = (self.clock.now, self.trainers.busy, self.samplers.busy)
        self.stages.append(Stage(name, start, self.clock.now, self._mark[1] - training, self._mark[2] - sampling))

    # Losses ----------------------------------------------------------------------------------------

    def _arrange(self, losses: Losses) -> None:
        """Every node's losses, drawn before the run begins."""
        rng = random.Random(losses.seed)
        size = self.cluster.gpus_per_node
        for pool, per_gpu in ((self.trainers, self.cluster.per_gpu[0]), (self.samplers, self.cluster.per_gpu[1])):
            for first in range(0, pool.size, size * per_gpu):
                places = range(first, first + size * per_gpu)
                self._next_loss(losses, rng, pool, places)

    def _next_loss(self, losses: Losses, rng: random.Random, pool: Pool, places: range) -> None:
        def lose() -> None:
            if pool.lose(places, losses.replaced):
                self.losses += 1
            self._next_loss(losses, rng, pool, places)

        self.clock.after(rng.expovariate(1 / losses.every), lose)
