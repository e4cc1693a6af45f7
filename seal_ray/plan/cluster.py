"""A run's workers, simulated: they do nothing, in the time that the real ones would take."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from seal_ray.adapters.lora import Adapter, tensor_names
from seal_ray.config import Config
from seal_ray.generator.spec import GeneratorSpec, Text, Trained
from seal_ray.plan.pool import Driver, Pool
from seal_ray.plan.rates import Rates
from seal_ray.plan.sizes import Sizes, TextSize, TrialSize
from seal_ray.plan.standin import StandIn
from seal_ray.plan.workers import AT_ONCE, Bank, Device, Stream, Worker
from seal_ray.types import AdapterRef, Completion, FinetuneSpec, LoraSpec, Outcome, Prompt, SampleRequest, Trial
from seal_ray.workers.base import Cluster, OnSpan
from seal_ray.workers.rebalance import Allocation, Span, divided_again
from seal_ray.workers.trainer import UpdateResult
from seal_ray.workers.unfinished import Keeper
from seal_ray.workers.watched import OnSteps, untold

QUEUED_PER_SLOT = 2
"""Trials a trainer holds for each slot, as in `seal_ray.workers.cluster`."""
PASSED = 8000 / 64
"""Tokens that are learnt in the time that passing around the gradients of one rank takes, as in `config.Workers`."""


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

    def places(self) -> tuple[Callable[[int], Device], Callable[[int], Device]]:
        """What a trainer, and a sampler, at a place runs on."""
        machine, gpus = Device(self.cores or 1), dict[tuple[int, int], Device]()

        def on(kind: int) -> Callable[[int], Device]:
            def device(place: int) -> Device:
                return gpus.setdefault((0 if self.shared else kind, place // self.per_gpu[kind]), Device(1))

            return device

        return (lambda _: machine, lambda _: machine) if self.cores else (on(0), on(1))


@dataclass(frozen=True)
class Losses:
    """Nodes go at random, each after `every` seconds on average; one in its place comes `replaced` seconds later."""

    every: float
    replaced: float
    seed: int


@dataclass
class Work:
    """What a run asked of its workers: how much in all, and the largest of each kind."""

    trials: int = 0
    texts: int = 0
    tokens_sampled: float = 0.0
    tokens_trained: float = 0.0
    context: float = 0.0
    """Tokens before each that is sampled, summed over the texts."""
    step: float = 0.0
    """Tokens of one trial's training step, at most."""
    update_step: float = 0.0
    rows: int = 0
    question: float = 0.0
    """Tokens of a question and its answer, at most."""
    text: float = 0.0
    """Tokens of a prompt and what may be written, at most."""
    rank: int = 0
    """Of all adapters that are held at once, at most."""

    def count_text(self, size: TextSize, limit: int) -> None:
        self.texts += 1
        self.tokens_sampled += size.tokens
        self.context += size.prompt + size.tokens / 2
        self.text = max(self.text, size.prompt + limit)

    def count_trial(self, size: TrialSize) -> None:
        self.trials += 1
        self.tokens_trained += size.tokens
        self.step = max(self.step, size.tokens / max(1, size.steps))
        self.rows, self.question = max(self.rows, size.rows), max(self.question, size.prompt + size.answer)


class SimulatedCluster(Cluster):
    """Make and use it inside a loop of virtual time."""

    def __init__(
        self,
        config: Config,
        rates: Rates,
        devices: Devices,
        engine: str,
        standin: StandIn,
        sizes: Sizes,
        on_span: OnSpan,
    ) -> None:
        self._config, self._rates, self._devices = config, rates, devices
        self._standin, self._sizes, self._on_span = standin, sizes, on_span
        self.driver, self.work, self.losses = Driver(rates.driver), Work(), 0
        limit, slots, workers = config.sampling.max_tokens, config.workers.slots, config.workers

        def bank(*args: Any) -> Worker:
            return Bank(slots, *args)

        def sampler(*args: Any) -> Worker:
            return Stream(limit, AT_ONCE if engine == "transformers" else None, *args)

        (train_on, sample_on), depth = devices.places(), workers.tokens_in_flight
        self.trainers = Pool(
            "trainer", self.driver, train_on, bank, rates, size=devices.trainers, depth=slots * QUEUED_PER_SLOT
        )
        self.samplers = Pool("sampler", self.driver, sample_on, sampler, rates, size=devices.samplers, depth=depth)
        self._spans: list[Span] = []
        self._made = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def gone(self) -> str:
        return ""

    async def hold(
        self, adapters: Mapping[AdapterRef, Adapter], probe: Prompt, unwritten: Set[AdapterRef] = frozenset()
    ) -> None:
        self.work.rank = max(self.work.rank, sum(adapter.rank for adapter in adapters.values()))
        if self.trainers.workers or self.samplers.workers:
            await asyncio.sleep(self._rates.policy)

    async def sample(self, request: SampleRequest) -> Completion:
        written = self._standin.write(request)
        size = TextSize(self._sizes.prompt(request.prompt), written.tokens)
        self.work.count_text(size, request.max_tokens)
        worker = await self._timed("sample", self.samplers, size, round(size.prompt) + request.max_tokens)
        return replace(written, worker=worker)

    async def run_trial(self, trial: Trial) -> Outcome:
        size = self._sizes.trial(trial)
        self.work.count_trial(size)
        if self._config.trial.eval_engine == "vllm" and size.answer:
            worker = await self._timed("trial", self.trainers, TrialSize(size.steps, size.tokens))
            weight = round(size.rows * (size.prompt + size.answer))
            await self._timed("ask", self.samplers, replace(size, steps=0, tokens=0.0), weight)
        else:
            worker = await self._timed("trial", self.trainers, size)
        return self._outcome(trial, size, worker)

    async def train_adapter(self, trial: Trial) -> tuple[Outcome, Adapter | None]:
        size = self._sizes.trial(replace(trial, questions=()))
        self.work.count_trial(size)
        worker = await self._timed("trial", self.trainers, size)
        lora = trial.recipe.lora if trial.recipe else None
        return self._outcome(trial, size, worker), self._adapter(lora) if lora else None

    async def update(
        self, finetune: FinetuneSpec, on_steps: OnSteps = untold, keeper: Keeper | None = None
    ) -> UpdateResult:
        """On as many trainers as get enough of each batch to be worth passing gradients around."""
        size, optim = self._sizes.update(finetune), finetune.optim
        batch = size.tokens / max(1, size.steps)
        self.work.update_step, self.work.tokens_trained = batch, self.work.tokens_trained + size.tokens
        most = min(self.trainers.workers, optim.batch_size, len(finetune.examples))
        parts = max(1, min(most, int(batch // self._config.workers.tokens_per_replica)))
        if finetune.objective:  # a pair's two texts may not part
            parts = 1
        passing = PASSED * finetune.lora.rank * size.steps if parts > 1 else 0.0
        part = replace(size, tokens=size.tokens / parts + passing)
        own = await asyncio.gather(*(self._timed("update", self.trainers, part) for _ in range(parts)))
        return UpdateResult(self._adapter(finetune.lora), (1.0,) * size.steps, own[0])

    async def train_generator(self, spec: GeneratorSpec, before: Trained, steps: int) -> Trained:
        """All steps at once, each as if its passages were trained on."""
        examples = tuple(example for lesson in spec.lessons for example in (*lesson.text, *lesson.answers))
        size = self._sizes.update(FinetuneSpec(examples, spec.lora, spec.optim, spec.seed))
        worker = await self._timed("generate", self.trainers, replace(size, steps=spec.steps))
        return Trained((1.0,) * spec.steps, (), worker)

    async def write_adapters(self, lora: LoraSpec, trained: Trained, passages: Sequence[Text]) -> Sequence[Adapter]:
        return [self._adapter(lora) for _ in passages]

    def rebalance(self) -> Allocation:
        """As the real cluster does, from the same spans."""
        spans, self._spans = self._spans, []
        now = Allocation(self.trainers.size, self.samplers.size)
        found = divided_again(now, self._config.workers, spans)
        if found != now:
            self.trainers.resize(found.trainers)
            self.samplers.resize(found.samplers)
        return found

    def lose_nodes(self, losses: Losses) -> None:
        """From now on nodes are lost at random, and so is each that comes in the place of a lost one."""
        rng, size = random.Random(losses.seed), self._devices.gpus_per_node
        for pool, per_gpu in zip((self.trainers, self.samplers), self._devices.per_gpu, strict=True):
            for first in range(0, pool.size, size * per_gpu):
                self._lose_next(losses, rng, pool, range(first, first + size * per_gpu))

    def _lose_next(self, losses: Losses, rng: random.Random, pool: Pool, places: range) -> None:
        def lose() -> None:
            self.losses += bool(pool.lose(places, losses.replaced))
            self._lose_next(losses, rng, pool, places)

        asyncio.get_running_loop().call_later(rng.expovariate(1 / losses.every), lose)

    async def _timed(self, what: str, pool: Pool, size: TrialSize | TextSize, weight: int = 1) -> str:
        worker, since = await pool.call(size, max(1, weight))
        span = Span(what, worker, since, asyncio.get_running_loop().time())
        self._spans.append(span)
        self._on_span(span)
        return worker

    def _outcome(self, trial: Trial, size: TrialSize, worker: str) -> Outcome:
        """Its answers spell out the reward of the trial, which the stand-in of the domain reads back from them."""
        reward = self._standin.reward(trial)
        answers, likely = (repr(reward),) * len(trial.questions), (math.log(max(reward, 1e-9)),) * len(trial.statements)
        return Outcome("", answers, likely, steps=size.steps, tokens=round(size.tokens), worker=worker)

    def _adapter(self, lora: LoraSpec) -> Adapter:
        """A tiny one of this rank, different from all others."""
        self._made += 1
        down, up = tensor_names("simulated")
        ones = np.ones((lora.rank, 1), np.float32)
        return Adapter(lora.rank, lora.alpha, lora.targets, {down: ones * self._made, up: ones.T})
