"""A short measurement on this machine: real workers, a few self-edits and trials of the config itself.

Workers of one thread are timed in seconds of their own processor time, so that whatever else this machine is doing
meanwhile does not count.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any, Literal

import ray

from seal_ray.config import Config
from seal_ray.domains.base import Domain
from seal_ray.domains.registry import load_domain
from seal_ray.model.loading import ModelSpec
from seal_ray.plan.measure import Observed, rates_of
from seal_ray.plan.predict import Basis
from seal_ray.plan.work import Seen
from seal_ray.types import BASE, DataError, Outcome, Recipe, SampleRequest, Task, Trial, UserError, derive_seed
from seal_ray.workers.cluster import _threads
from seal_ray.workers.ray_connection import connect
from seal_ray.workers.sampler import EngineSpec, Sampler
from seal_ray.workers.trainer import Trainer

_SAMPLED = (1, 8, 64)
"""Sizes of the batches that are sampled."""


def calibrate(config: Config) -> Basis:
    """Start this config's workers, as many as can work side by side, and time them for some seconds."""
    began = time.monotonic()
    connect(config)
    probe = _Probe(config)
    try:
        start = probe.set_up(began)
        sampler = probe.sample()
        trainer = probe.train()
    finally:
        probe.close()
    rates = rates_of(trainer, sampler, config.trial.answer_tokens, start, 0.2)
    return Basis(rates, probe.seen(), f"measured here with {len(probe.trainers)} trainers at once, in {probe.unit}")


class _Probe:
    def __init__(self, config: Config) -> None:
        self.config, self.domain = config, load_domain(config)
        workers = config.workers
        side_by_side = workers.trainers if workers.gpus_per_trainer else os.cpu_count() or 1
        count = min(workers.trainers, side_by_side, 2)
        trainer: Any = ray.remote(Trainer).options(
            num_cpus=workers.cpus, num_gpus=workers.gpus_per_trainer, runtime_env=_threads(workers.cpus)
        )
        sampler: Any = ray.remote(Sampler).options(
            num_cpus=workers.cpus, num_gpus=workers.gpus_per_sampler, runtime_env=_threads(workers.cpus)
        )
        self.by_processor = not workers.gpus_per_trainer and workers.cpus < 2
        training = ModelSpec.of(config.model, workers.gpus_per_trainer)
        sampling = replace(training, gpus=workers.gpus_per_sampler)
        self.trainers = [
            trainer.remote(training, workers.slots, workers.max_tokens_per_microbatch) for _ in range(count)
        ]
        self.sampler = sampler.remote(sampling, EngineSpec.of(config))
        split: Literal["train", "test"] = "train" if config.run.rounds else "test"
        asked = config.domain.train if config.run.rounds else config.domain.test
        self.tasks: Sequence[Task] = self.domain.tasks(split, asked or None, derive_seed("probe", config.run.seed))
        self.completions: list[tuple[Task, str, int]] = []
        self.usable: list[tuple[Task, Recipe]] = []

    @property
    def unit(self) -> str:
        return "seconds of a core of its own" if self.by_processor else "seconds"

    def set_up(self, began: float) -> float:
        """Seconds until all workers are up."""
        ray.get([worker.setup.remote() for worker in (*self.trainers, self.sampler)])
        ray.get([worker.set_policy.remote(0, None) for worker in (*self.trainers, self.sampler)])
        return time.monotonic() - began

    def sample(self) -> list[Observed]:
        observed = []
        for count in _SAMPLED:
            tasks = list(islice(cycle(self.tasks), count))
            begun = self._now(self.sampler)
            found = ray.get([self.sampler.sample.remote(self._request(task, i)) for i, task in enumerate(tasks)])
            seconds = self._now(self.sampler) - begun
            self.completions += [(task, one.text, one.tokens) for task, one in zip(tasks, found, strict=True)]
            lengths = [one.tokens for one in found]
            observed.append(Observed(seconds, (max(lengths) + 1, sum(lengths)), first=count == 1))
        return observed

    def train(self) -> list[Observed]:
        """Asking alone, and trials in a nearly empty and in a full bank, on all trainers side by side."""
        slots, observed = self.config.workers.slots, []
        self.usable = _recipes(self.domain, self.completions)
        if not self.usable:
            raise UserError("no self-edit that was sampled can be trained on; nothing to measure")
        for number, (count, trained) in enumerate(((1, True), (1, False), (slots, False), (2, True), (slots, True))):
            batches = [
                [self._trial(f"{number} {place} {i}", i, trained) for i in range(count)]
                for place in range(len(self.trainers))
            ]
            observed += self._timed(batches, number == 0)
        return observed

    def _timed(self, batches: Sequence[Sequence[Trial]], first: bool) -> list[Observed]:
        begun = [self._now(worker) for worker in self.trainers]
        under_way = [
            (worker, [worker.run_trial.remote(trial) for trial in batch])
            for worker, batch in zip(self.trainers, batches, strict=True)
        ]
        # The trainers' batches are alike, and they end close together: one wait is fair to each.
        observed = []
        for (worker, references), start in zip(under_way, begun, strict=True):
            outcomes: list[Outcome] = ray.get(references)
            observed.append(Observed(self._now(worker) - start, self._work(outcomes), first))
        return observed

    def _now(self, worker: Any) -> float:
        """On the clock that this worker is timed by."""
        if not self.by_processor:
            return time.monotonic()
        return float(ray.get(worker.__ray_call__.remote(processor_seconds)))

    def _work(self, outcomes: Sequence[Outcome]) -> tuple[float, ...]:
        slots = self.config.workers.slots
        trained = [outcome for outcome in outcomes if outcome.steps]
        steps = sum(outcome.steps for outcome in trained) / max(1, min(slots, len(trained)))
        tokens = sum(outcome.tokens for outcome in trained)
        return steps, tokens, math.ceil(len(outcomes) / slots), sum(len(outcome.answers) for outcome in outcomes)

    def _request(self, task: Task, index: int) -> SampleRequest:
        s = self.config.sampling
        seed = derive_seed("probe", self.config.run.seed, task.id, index)
        prompt, stop = self.domain.prompt(task), self.domain.sample_stop
        return SampleRequest(BASE, prompt, seed, s.temperature, s.top_p, s.max_tokens, stop, self.domain.schema)

    def _trial(self, name: str, index: int, trained: bool) -> Trial:
        task, recipe = self.usable[-1 - index % len(self.usable)]  # the last ones were sampled for different tasks
        seed = derive_seed("probe", name)
        settings = self.config.trial
        questions, tokens = tuple(self.domain.questions(task)), settings.answer_tokens
        return Trial(task.id, BASE, recipe if trained else None, seed, questions, tokens, self.domain.stop)

    def seen(self) -> Seen:
        return Seen(tuple((text, tokens) for _, text, tokens in self.completions))

    def close(self) -> None:
        for worker in (*self.trainers, self.sampler):
            ray.kill(worker)


def processor_seconds(_: Any) -> float:
    """What the process of an actor has used so far."""
    return time.process_time()


def _recipes(domain: Domain, completions: Sequence[tuple[Task, str, int]]) -> list[tuple[Task, Recipe]]:
    found: list[tuple[Task, Recipe]] = []
    for task, text, _ in completions:
        try:
            found.append((task, domain.recipe(task, text, 0)))
        except DataError:
            continue
    return found
