"""A short measurement on this machine: real workers, a few self-edits and trials of the config itself.

Workers of one thread are timed in seconds of their own processor time, so that whatever else this machine is doing
meanwhile does not count. Once Ray has started a process it takes a minute at most: what would take longer is measured
in part, and said to be.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal

import ray
from ray.exceptions import GetTimeoutError

from seal_ray.config import IN_PROCESS, Config
from seal_ray.domains.base import Domain
from seal_ray.domains.registry import load_domain
from seal_ray.events import Advanced, Events, Observer, StageBegan
from seal_ray.model.loading import ModelSpec
from seal_ray.model.precision import AUTO
from seal_ray.plan.ladder import Climbed, Ladder
from seal_ray.plan.measure import rates_of
from seal_ray.plan.predict import Basis
from seal_ray.plan.standin import Seen
from seal_ray.types import Completion, Outcome, SampleRequest, Task, Trial, UserError, derive_seed
from seal_ray.workers.cluster import threads_of
from seal_ray.workers.health import actor
from seal_ray.workers.precision import of_first_trainer
from seal_ray.workers.ray_connection import connect
from seal_ray.workers.room import Need, beside, machines
from seal_ray.workers.sampler import EngineSpec, Sampler
from seal_ray.workers.trainer import Trainer

logger = logging.getLogger(__name__)

SECONDS = 60.0
"""What a calibration may take."""
_CLOSING = 5.0
"""Of those, kept for what comes after the last measurement."""
_SAMPLING = 0.4
"""Share of the time that is left once workers are up."""
_HANDOVER = 0.2
"""Seconds that a new policy takes to reach all workers, which is not measured here."""
_STAGE = f"calibrating (seconds, at most {SECONDS:.0f})"


def calibrate(config: Config, *observers: Observer) -> Basis:
    """Start this config's workers, as many as can work side by side, and time them."""
    if config.workers.address == IN_PROCESS:
        raise UserError(
            f"--calibrate: times workers on Ray, and workers.address is {IN_PROCESS!r}; add --workers.address '' to "
            "have them timed on a Ray that is started here, or give --from DIR (the journal of an earlier run)"
        )
    with closing(Events(observers=observers)) as events:
        connect(config)
        if config.model.dtype == AUTO:
            config = config.in_precision(of_first_trainer(config).dtype)
        domain, tasks = _work(config)
        # Ray has started a first process by now: what that takes on a crowded machine says nothing about the model.
        with closing(RayBench(time.monotonic() + SECONDS - _CLOSING, events)) as bench:
            bench.start(config)
            return _measured(config, domain, tasks, bench)


def _work(config: Config) -> tuple[Domain, Sequence[Task]]:
    domain = load_domain(config)
    split: Literal["train", "test"] = "train" if config.run.rounds else "test"
    count = config.domain.train if config.run.rounds else config.domain.test
    return domain, domain.tasks(split, count or None, derive_seed("probe", config.run.seed))


def _measured(config: Config, domain: Domain, tasks: Sequence[Task], bench: RayBench) -> Basis:
    ladder, start = Ladder(config, domain, tasks, bench), bench.elapsed
    sampled = _some(ladder.sample(bench.now() + _SAMPLING * (bench.until - bench.now())), "a self-edit")
    trained = _some(ladder.train(bench.until), "a trial")
    rates = rates_of(trained.observed, sampled.observed, start, _HANDOVER)
    notes = [f"measured here with {_trainers(len(bench.trainers))}, in {bench.unit}"]
    if min(sampled.share, trained.share) < 1:
        notes.append(
            f"the model is slow here: self-edits were measured at {sampled.share:.2g} of their size and trials at "
            f"{trained.share:.2g}; what whole ones take is extrapolated"
        )
    whole = sampled.share == 1 or all(text.finished for _, text in ladder.completions)
    seen = Seen(tuple((text.text, text.tokens) for _, text in ladder.completions)) if whole else None
    return Basis(rates, seen, "; ".join(notes), config.model.dtype)


def _some(found: Climbed, what: str) -> Climbed:
    if not found.observed:
        raise _too_slow(f"the smallest part of {what}")
    return found


def _too_slow(what: str) -> UserError:
    return UserError(
        f"--calibrate: {what} takes longer here than the {SECONDS:.0f} s that a calibration may; "
        "give --from DIR (the journal of an earlier run), or --gpu NAME"
    )


class RayBench:
    """Times real workers. What has not ended by the time `until` is given up."""

    def __init__(self, until: float, events: Events) -> None:
        self.until, self._events = until, events
        self._began, self._told = time.monotonic(), 0
        self.trainers: list[Any] = []
        self._by_processor = False
        events.emit(StageBegan(_STAGE, round(SECONDS)))

    @property
    def unit(self) -> str:
        return "seconds of a core of its own" if self._by_processor else "seconds"

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def now(self) -> float:
        return time.monotonic()

    def start(self, config: Config) -> None:
        """Have workers up."""
        workers = config.workers
        count = min(workers.trainers, 2, _fitting(*Need.all_of(config)))
        own = {"num_cpus": workers.cpus, "runtime_env": threads_of(workers.cpus)}
        trainer = actor(Trainer, num_gpus=workers.gpus_per_trainer, **own)
        sampler = actor(Sampler, num_gpus=workers.gpus_per_sampler, **own)
        self._by_processor = not workers.gpus_per_trainer and workers.cpus < 2
        training = ModelSpec.of(config.model, workers.gpus_per_trainer)
        sampling = replace(training, gpus=workers.gpus_per_sampler)
        slots, tokens = workers.slots, workers.max_tokens_per_microbatch
        self.trainers = [trainer.remote(training, slots, tokens) for _ in range(count)]
        self._sampler = sampler.remote(sampling, EngineSpec.of(config))
        everyone = [*self.trainers, self._sampler]
        logger.info("measuring: %d workers load the model", len(everyone))
        if self._get([worker.setup.remote() for worker in everyone], self.until - self.now()) is None:
            raise _too_slow("loading the model")

    def sample(self, requests: Sequence[SampleRequest], seconds: float) -> tuple[float, Sequence[Completion]] | None:
        done = self._timed([(self._sampler, self._sampler.sample, requests)], seconds)
        if done is None:
            ray.kill(self._sampler)  # or it would go on with it beside the trainers
            return None
        return done[0]

    def run(self, trials: Sequence[Trial], seconds: float) -> list[tuple[float, list[Outcome]]] | None:
        """On every trainer the same trials, each under a seed of its own: the batches are alike and end together."""
        own = [[replace(trial, seed=trial.seed + place) for trial in trials] for place in range(len(self.trainers))]
        return self._timed([(w, w.run_trial, mine) for w, mine in zip(self.trainers, own, strict=True)], seconds)

    def close(self) -> None:
        for worker in (*self.trainers, *([self._sampler] if self.trainers else [])):
            ray.kill(worker)
        self._events.emit(Advanced(_STAGE, round(SECONDS) - self._told))

    def _timed(
        self, calls: Sequence[tuple[Any, Any, Sequence[Any]]], seconds: float
    ) -> list[tuple[float, list[Any]]] | None:
        until = self.now() + seconds
        begun = [self._clock(worker, seconds) for worker, _, _ in calls]
        under_way = [[method.remote(argument) for argument in arguments] for _, method, arguments in calls]
        found = []
        for (worker, _, _), before, references in zip(calls, begun, under_way, strict=True):
            results = self._get(references, until - self.now())
            after = None if results is None else self._clock(worker, until - self.now())
            if results is None or before is None or after is None:
                return None
            found.append((after - before, results))
        return found

    def _clock(self, worker: Any, seconds: float) -> float | None:
        """On the clock that this worker is timed by."""
        if not self._by_processor:
            return time.monotonic()
        found = self._get([worker.__ray_call__.remote(processor_seconds)], seconds)
        return None if found is None else float(found[0])

    def _get(self, references: Sequence[Any], seconds: float) -> list[Any] | None:
        """What is answered in time; None when it is not."""
        try:
            found: list[Any] = ray.get(list(references), timeout=max(0.0, seconds))
        except GetTimeoutError:
            return None
        finally:
            passed = min(round(SECONDS), int(self.elapsed)) - self._told
            if passed > 0:
                self._told += passed
                self._events.emit(Advanced(_STAGE, passed))
        return found


def _trainers(count: int) -> str:
    return f"{count} trainers at once" if count > 1 else "one trainer"


def _fitting(trainer: Need, sampler: Need) -> int:
    """How many trainers find room beside a sampler; all of them are up at once here."""
    if count := beside(trainer, sampler, machines()):
        return count
    raise UserError(
        f"--calibrate: the cluster has no room for a trainer ({trainer}) and a sampler ({sampler}) at once; ask for "
        "less (workers.cpus, workers.gpus_per_trainer and _sampler), or give --from DIR or --gpu NAME"
    )


def processor_seconds(_: Any) -> float:
    """What the process of an actor has used so far."""
    return time.process_time()
