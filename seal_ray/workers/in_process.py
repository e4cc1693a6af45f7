"""One trainer and one sampler in the driver's own process: no Ray, and a debugger stops inside a trial."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Mapping, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch

from seal_ray.config import Config
from seal_ray.endpoints.patience import Patience
from seal_ray.machine import cores
from seal_ray.model.loading import ModelSpec
from seal_ray.record.intervals import now
from seal_ray.types import (
    AdapterRef,
    Completion,
    FinetuneSpec,
    LoraSpec,
    Outcome,
    Prompt,
    SampleRequest,
    Trial,
    UserError,
)
from seal_ray.workers.base import Cluster, OnSpan
from seal_ray.workers.errors import WorkerLost, update_failed
from seal_ray.workers.rebalance import Allocation, Span
from seal_ray.workers.sampler import EngineSpec, Sampler
from seal_ray.workers.trainer import Trainer, UpdateResult
from seal_ray.workers.unfinished import Keeper, Unfinished
from seal_ray.workers.watched import OnSteps, untold

if TYPE_CHECKING:
    from seal_ray.adapters.lora import Adapter
    from seal_ray.generator.spec import GeneratorSpec, Text, Trained

T = TypeVar("T")
logger = logging.getLogger(__name__)


class InProcessCluster(Cluster):
    """The trainer and sampler of a cluster, called directly. What takes a worker down ends the run."""

    def __init__(self, config: Config, on_span: OnSpan) -> None:
        workers = config.workers
        training = ModelSpec.of(config.model, workers.gpus_per_trainer)
        sampling = replace(training, gpus=workers.gpus_per_sampler)
        torch.set_num_threads(min(torch.get_num_threads(), cores()))  # torch does not look at a container's share
        self._trainer = Trainer(training, workers.slots, workers.max_tokens_per_microbatch)
        self._sampler = Sampler(sampling, EngineSpec.of(config))
        self._patience = Patience(config.sampling.patience, "sampling.patience")
        self._on_span = on_span

    async def __aenter__(self) -> Self:
        await self._trainer.setup()
        await self._sampler.setup()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sampler.close()

    def gone(self) -> str:
        return ""

    async def hold(
        self, adapters: Mapping[AdapterRef, Adapter], probe: Prompt, unwritten: Set[AdapterRef] = frozenset()
    ) -> None:
        await self._trainer.hold(*adapters.values())
        await self._sampler.hold({}, *(adapter for ref, adapter in adapters.items() if ref not in unwritten))

    async def sample(self, request: SampleRequest) -> Completion:
        asked = self._patience.until_answered(lambda: self._sampler.sample(request))
        return await self._timed("sample", asked)

    async def run_trial(self, trial: Trial) -> Outcome:
        return await self._timed("trial", self._trainer.run_trial(trial))

    async def train_adapter(self, trial: Trial) -> tuple[Outcome, Adapter | None]:
        return await self._timed("trial", self._trainer.train_adapter(trial))

    async def update(
        self, finetune: FinetuneSpec, on_steps: OnSteps = untold, keeper: Keeper | None = None
    ) -> UpdateResult:
        return await self._timed("update", self._updated(finetune, on_steps, keeper))

    async def _updated(self, finetune: FinetuneSpec, on_steps: OnSteps, keeper: Keeper | None) -> UpdateResult:
        """A step at a time, from where one that was stopped was kept last."""
        trainer, steps = self._trainer, await self._trainer.join_update(finetune)
        losses: list[float] = []
        if keeper and (before := await asyncio.to_thread(keeper.found)):
            losses += before.losses
            await trainer.in_update("restore", (len(losses), before.numbers))
            logger.info("the update goes on after step %d of %d", len(losses), steps)
        while len(losses) < steps:
            losses.append(await trainer.in_update("step"))
            if not math.isfinite(losses[-1]):
                raise update_failed(f"the loss is not finite at step {len(losses) - 1}")
            on_steps(len(losses))
            if keeper and keeper.is_due:
                _, numbers = await trainer.in_update("state")
                await asyncio.to_thread(keeper.keep, Unfinished(tuple(losses), tuple(numbers)))
        return replace(await trainer.finish_update(), losses=tuple(losses))

    async def train_generator(self, spec: GeneratorSpec, before: Trained, steps: int) -> Trained:
        return await self._timed("generate", self._trainer.train_generator(spec, before, steps))

    async def write_adapters(self, lora: LoraSpec, trained: Trained, passages: Sequence[Text]) -> Sequence[Adapter]:
        return (await self._timed("generate", self._trainer.write_adapters(lora, trained, passages))).adapters

    def rebalance(self) -> Allocation:
        return Allocation(1, 1)

    async def _timed(self, what: str, work: Awaitable[T]) -> T:
        start = now()
        try:
            result: Any = await work
        except WorkerLost as error:
            raise UserError(f"{error}; lower workers.slots or workers.max_tokens_per_microbatch") from error
        first = result[0] if isinstance(result, tuple) else result
        self._on_span(Span(what, first.worker, start, now()))
        return result  # type: ignore[no-any-return]
