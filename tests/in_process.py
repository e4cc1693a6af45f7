"""The real driver, runner, journal, trainer and sampler in one process without Ray: for tests of what they decide."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from seal_ray.config import Config
from seal_ray.endpoints.patience import Patience
from seal_ray.model.loading import ModelSpec
from seal_ray.model.locate import resolve
from seal_ray.types import Completion, FinetuneSpec, Outcome, Prompt, SampleRequest, Trial
from seal_ray.workers.cluster import Span
from seal_ray.workers.rebalance import Allocation
from seal_ray.workers.sampler import EngineSpec, Sampler
from seal_ray.workers.trainer import Trainer, UpdateResult

if TYPE_CHECKING:
    from seal_ray.bank.adapter import Adapter


class InProcessCluster:
    """One trainer and one sampler, called directly."""

    done: ClassVar[Counter[str]] = Counter()
    """How often each kind of work was really done, over all runs since it was last cleared."""

    def __init__(self, config: Config, on_span: Callable[[Span], None]) -> None:
        model = config.model
        spec = ModelSpec(resolve(model.path), model.revision, model.dtype, model.max_length)
        self._trainer = Trainer(spec, config.workers.slots, config.workers.max_tokens_per_microbatch)
        self._sampler = Sampler(spec, EngineSpec.of(config))
        self._patience = Patience(config.sampling.patience, "sampling.patience")

    def gone(self) -> str:
        return ""

    async def __aenter__(self) -> Self:
        await self._trainer.setup()
        await self._sampler.setup()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sampler.close()

    async def set_policy(self, version: int, adapter: Adapter | None, probe: Prompt) -> None:
        await self._trainer.set_policy(version, adapter)
        await self._sampler.set_policy(version, adapter)

    async def sample(self, request: SampleRequest) -> Completion:
        self.done["sample"] += 1
        return await self._patience.until_answered(lambda: self._sampler.sample(request))

    async def ask(self, prompts: Sequence[Prompt], max_tokens: int) -> list[str]:
        requests = [SampleRequest(0, prompt, seed=0, temperature=0.0, max_tokens=max_tokens) for prompt in prompts]
        return [completion.text for completion in await asyncio.gather(*map(self.sample, requests))]

    async def run_trial(self, trial: Trial) -> Outcome:
        self.done["trial"] += 1
        return await self._trainer.run_trial(trial)

    async def train_adapter(self, trial: Trial) -> Any:
        self.done["trial"] += 1
        return await self._trainer.train_adapter(trial)

    async def update(self, finetune: FinetuneSpec, max_rank: int) -> UpdateResult:
        self.done["update"] += 1
        return await self._trainer.update(finetune, max_rank)

    def rebalance(self) -> Allocation:
        return Allocation(1, 1)
