"""The run's workers seen from the driver: a pool that writes self-edits and a pool that tries them."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import ray
from ray.exceptions import RayError

from seal_ray import plugins
from seal_ray.config import Config
from seal_ray.endpoints.patience import Patience
from seal_ray.model.loading import ModelSpec
from seal_ray.record.intervals import now
from seal_ray.types import (
    BASE,
    AdapterRef,
    Completion,
    Failure,
    FinetuneSpec,
    LoraSpec,
    Outcome,
    Prompt,
    SampleRequest,
    Trial,
    UserError,
)
from seal_ray.workers.alike import Alike
from seal_ray.workers.base import Cluster, OnSpan
from seal_ray.workers.data_parallel import update_together
from seal_ray.workers.engines.canary import Probe
from seal_ray.workers.errors import Poisoned
from seal_ray.workers.health import actor
from seal_ray.workers.metrics import RunMetrics
from seal_ray.workers.pool import Pool
from seal_ray.workers.ray_connection import Vitals, connect
from seal_ray.workers.rebalance import Allocation, Span, busy_seconds, divided_again
from seal_ray.workers.room import Need, machines, refuse_what_never_fits, tell_of_lacks
from seal_ray.workers.sampler import EngineSpec, Sampler
from seal_ray.workers.trainer import Trainer, UpdateResult
from seal_ray.workers.unfinished import Keeper
from seal_ray.workers.watched import OnSteps, untold, watched

if TYPE_CHECKING:
    from seal_ray.adapters.lora import Adapter
    from seal_ray.generator.spec import GeneratorSpec, Text, Trained, Written

__all__ = ["RayCluster", "Span"]

logger = logging.getLogger(__name__)
Held = Mapping[AdapterRef, "ray.ObjectRef[Adapter]"]

_CHARACTERS_PER_TOKEN = 3  # rather too few: the driver has no tokenizer to count with
_QUEUED_PER_SLOT = 2  # a trial that waits on the worker takes a freed slot without a trip to the driver


class RayCluster(Cluster):
    """Trainers and samplers. Use as `async with RayCluster(config, on_span) as cluster`.

    What kills its workers again and again is set aside: a self-edit or a trial on record as failed. Without an
    update or a checked policy there is nothing to go on with, so one of those stops the run with one line.
    """

    def __init__(self, config: Config, on_span: OnSpan) -> None:
        alone, self._needs = connect(config), Need.all_of(config)
        if alone:
            refuse_what_never_fits(self._needs, machines()[0])
        self._vitals = Vitals.of_this_cluster()
        workers = config.workers
        training = ModelSpec.of(config.model, workers.gpus_per_trainer)
        sampling = replace(training, gpus=workers.gpus_per_sampler)
        engine, alike = EngineSpec.of(config), Alike(training.path)
        trainer = actor(
            Trainer, num_cpus=workers.cpus, num_gpus=workers.gpus_per_trainer, runtime_env=threads_of(workers.cpus)
        )
        sampler = actor(
            Sampler, num_cpus=workers.cpus, num_gpus=workers.gpus_per_sampler, runtime_env=threads_of(workers.cpus)
        )
        self.trainers = Pool(
            "trainer",
            lambda: trainer.remote(training, workers.slots, workers.max_tokens_per_microbatch),
            alike.set_up,
            size=workers.trainers,
            depth=workers.slots * _QUEUED_PER_SLOT,
            lasts=_steps,
        )
        self.samplers = Pool(
            "sampler",
            lambda: sampler.remote(sampling, engine),
            alike.set_up,
            size=workers.samplers,
            depth=workers.tokens_in_flight,
            weigh=_tokens,
        )
        self.trainers.sibling, self.samplers.sibling = self.samplers, self.trainers
        self._workers, self._engine, self._on_span = workers, engine, on_span
        self._metrics = RunMetrics(f"{config.run.name}-{config.run.seed}")
        self._patience = Patience(config.sampling.patience, "sampling.patience")
        self._held: dict[AdapterRef, ray.ObjectRef[Adapter]] = {}
        self._probes: dict[AdapterRef, Probe] = {}
        self._spans: list[Span] = []
        """The calls since workers were last divided."""

    async def __aenter__(self) -> Self:
        pools = (self.trainers, self.samplers)
        lacks = [(need, pool.finds_no_room) for need, pool in zip(self._needs, pools, strict=True)]
        self._tellers = [asyncio.create_task(tell_of_lacks(lacks)), asyncio.create_task(self._metrics.watch(pools))]
        return self

    async def __aexit__(self, *_: object) -> None:
        for teller in self._tellers:
            teller.cancel()
        await self.samplers.close()
        await self.trainers.close()

    def gone(self) -> str:
        return self._vitals.gone()

    async def hold(
        self, adapters: Mapping[AdapterRef, Adapter], probe: Prompt, unwritten: Set[AdapterRef] = frozenset()
    ) -> None:
        """Every worker, and each that joins later, can start from each of these from now on.

        An engine that loads adapters its own way is held to the bank's log-probabilities of the probe.
        """
        before = self._held
        self._held = {ref: before.get(ref) or ray.put(adapter) for ref, adapter in adapters.items()}
        self._metrics.holds(sum(each.nbytes for adapter in adapters.values() for each in adapter.tensors.values()))
        written = {ref: held for ref, held in self._held.items() if ref not in unwritten}
        if self._engine.name == "vllm":
            await self._probe(probe, before, written)
        await self.trainers.broadcast("hold", *self._held.values())
        for readings in await self.samplers.broadcast("hold", self._probes, *written.values()):
            for reading in readings:
                unsure = reading.step and reading.stepped is None
                logger.log(logging.WARNING if unsure else logging.INFO, "%s", reading)

    async def _probe(self, probe: Prompt, before: Held, written: Held) -> None:
        """Have the bank score the probe under what is new there, and under what that replaces."""
        gone = next((ref for ref in before if ref not in self._held), BASE)
        self._probes = {ref: checked for ref, checked in self._probes.items() if ref in written}
        if new := [ref for ref in written if ref not in self._probes]:
            await self.trainers.broadcast("hold", *{**before, **self._held}.values())
        with _needed("the check of the policy"):
            for ref in new:
                self._probes[ref] = await self.trainers.call("probe", probe, ref, gone, self._engine.context)

    async def sample(self, request: SampleRequest) -> Completion:
        """An endpoint that is away is waited for here, where it can be said."""
        try:
            timed = self._patience.until_answered(lambda: self._timed("sample", self.samplers, "sample", request))
            return self._metrics.sampled(await timed)
        except Poisoned as error:
            return Completion("", 0, finished=False, refused=f"set aside: {error}")

    async def run_trial(self, trial: Trial) -> Outcome:
        """One trial, trained in a bank and answered there or through the samplers' engine."""
        try:
            return self._metrics.tried(await self._attempt(trial))
        except Poisoned as error:
            return self._metrics.tried(_set_aside(trial, error))

    async def _attempt(self, trial: Trial) -> Outcome:
        whole = trial.recipe is not None and trial.recipe.lora is None
        if whole or not trial.questions or not self._engine.trial_adapters:
            return await self._timed("trial", self.trainers, "run_trial", trial)
        outcome, adapter = await self._timed("trial", self.trainers, "train_to_answer", trial)
        if outcome.failure:
            return outcome  # type: ignore[no-any-return]
        answers: Sequence[Completion] = await self._timed("ask", self.samplers, "answer", adapter, trial)
        if refused := next((answer.refused for answer in answers if answer.refused), ""):
            return replace(outcome, failure=Failure("data", refused))
        cut = tuple(not answer.finished for answer in answers)
        return replace(outcome, answers=tuple(answer.text for answer in answers), cut=cut)

    async def train_adapter(self, trial: Trial) -> tuple[Outcome, Adapter | None]:
        """Only train; what was trained comes back, without the adapter below it."""
        try:
            outcome, adapter = await self._timed("trial", self.trainers, "train_adapter", trial)
        except Poisoned as error:
            return self._metrics.tried(_set_aside(trial, error)), None
        return self._metrics.tried(outcome), adapter

    async def update(
        self, finetune: FinetuneSpec, on_steps: OnSteps = untold, keeper: Keeper | None = None
    ) -> UpdateResult:
        """Train an adapter on top of a policy's, on several trainers where the batches are large enough for that.

        What comes of it is sampled from and tried next, so the workers for that are started meanwhile.
        """
        start = now()
        with _needed("the update"), self.samplers.expecting(), self.trainers.expecting():
            parts = await self._parts(finetune)
            shared = await update_together(self.trainers, parts, finetune, on_steps) if parts > 1 else None
            if shared is None:
                trained = self._timed("update", self.trainers, "update", finetune)
                return await watched(trained, self._steps_done, on_steps)
        self._on_span(Span("update", shared.worker, start, now()))
        return shared

    async def _steps_done(self) -> int:
        """Of the update, by the trainer that is at it."""
        at = [member for member in self.trainers.members.ready if member.at["update"]]
        try:
            return max([await member.handle.update_steps.remote() for member in at], default=0)
        except RayError:  # it was lost, which whoever waits for the update hears of
            return 0

    async def _parts(self, finetune: FinetuneSpec) -> int:
        """How many of the trainers that are up get enough of each batch to be worth passing gradients around."""
        most = min(self.trainers.workers, finetune.optim.batch_size, len(finetune.examples))
        if most < 2 or finetune.objective:  # a pair's two texts may not part
            return 1
        tokens = await self.trainers.call("batch_tokens", finetune)
        return min(most, tokens // self._workers.tokens_per_replica)

    async def train_generator(self, spec: GeneratorSpec, before: Trained, steps: int) -> Trained:
        """Take so many steps more on any trainer: what the steps before came to travels with the call."""
        with _needed("the training of a generator"):
            found: Trained = await self._timed("generate", self.trainers, "train_generator", spec, before, steps)
        return found

    async def write_adapters(self, lora: LoraSpec, trained: Trained, passages: Sequence[Text]) -> Sequence[Adapter]:
        """The adapter that a generator writes of each passage."""
        with _needed("the writing of adapters"):
            written: Written = await self._timed("generate", self.trainers, "write_adapters", lora, trained, passages)
        return written.adapters

    def rebalance(self) -> Allocation:
        """Between rounds: with `workers.allocation = "auto"`, divide the workers again by how long each was busy."""
        spans, self._spans = self._spans, []
        now = Allocation(self.trainers.size, self.samplers.size)
        allocation = divided_again(now, self._workers, spans)
        if allocation != now:
            training, sampling = busy_seconds(spans, "trial"), busy_seconds(spans, "sample", "ask")
            logger.info("%s from now on (%s busy for %.0f s and %.0f s)", allocation, now, training, sampling)
            self.trainers.resize(allocation.trainers)
            self.samplers.resize(allocation.samplers)
        return allocation

    async def _timed(self, what: str, pool: Pool, method: str, *args: Any) -> Any:
        result, start = await pool.timed(method, *args)
        first = result[0] if isinstance(result, tuple) and result else result
        span = Span(what, getattr(first, "worker", ""), start, now())
        self._spans.append(span)
        self._metrics.took(what, span.end - start)
        self._on_span(span)
        return result


def _set_aside(trial: Trial, error: Poisoned) -> Outcome:
    return Outcome(trial.key, failure=Failure("data", f"set aside: {error}"))


@contextmanager
def _needed(what: str) -> Iterator[None]:
    """A call that nothing can stand in for."""
    try:
        yield
    except Poisoned as error:
        raise UserError(
            f"{what} cannot be done: {error}; see to what ends the workers (lower workers.max_tokens_per_microbatch or "
            "update.optim.batch_size if it is memory), then give the same command to continue"
        ) from error


def _tokens(method: str, args: tuple[Any, ...]) -> int:
    """The most that a call may hold of an engine: its prompts' tokens, and those it may write."""
    asked = args[0] if method == "sample" else args[1]
    if isinstance(asked, SampleRequest):
        prompts, written = (asked.prompt,), asked.max_tokens
    else:
        prompts, written = asked.questions, asked.max_answer_tokens
    characters = [sum(len(m.content) for m in p) if isinstance(p, tuple) else len(p) for p in prompts]
    return max(1, sum(count // _CHARACTERS_PER_TOKEN + written for count in characters))


def _steps(method: str, args: tuple[Any, ...]) -> int:
    """The steps that a trial trains for; what is no trial goes before all of them."""
    if not (args and isinstance(args[0], Trial)):
        return sys.maxsize
    recipe = args[0].recipe
    return recipe.optim.steps(len(recipe.examples)) if recipe else 0


def threads_of(cpus: float) -> dict[str, Any]:
    """The environment of a worker that has so many cores."""
    threads = {"OMP_NUM_THREADS": str(max(1, int(cpus))), "TOKENIZERS_PARALLELISM": "false"}
    return {"env_vars": threads | plugins.environment()}
