"""The workers of a run as its driver sees them, wherever they are: on Ray, or in the driver's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Set
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from seal_ray.config import IN_PROCESS, Config
from seal_ray.types import AdapterRef, Completion, FinetuneSpec, LoraSpec, Outcome, Prompt, SampleRequest, Trial
from seal_ray.workers.rebalance import Allocation, Span
from seal_ray.workers.unfinished import Keeper
from seal_ray.workers.watched import OnSteps, untold

if TYPE_CHECKING:
    from seal_ray.adapters.lora import Adapter
    from seal_ray.generator.spec import GeneratorSpec, Text, Trained
    from seal_ray.workers.trainer import UpdateResult

OnSpan = Callable[[Span], None]


class Cluster(Protocol):
    """Trainers and samplers. Use as `async with open_cluster(config, on_span) as cluster`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def hold(
        self, adapters: Mapping[AdapterRef, Adapter], probe: Prompt, unwritten: Set[AdapterRef] = frozenset()
    ) -> None:
        """From now on every worker can start from each of these, besides the base, and from no others.

        Work under those that stay goes on meanwhile. An engine of its own kind is checked with the probe. Under those
        that are `unwritten` nothing is sampled, only trained and asked.
        """

    async def sample(self, request: SampleRequest) -> Completion:
        """One self-edit; refused where its prompt cannot be answered."""
        ...

    async def ask(self, prompts: Sequence[Prompt], max_tokens: int) -> list[str]:
        """Greedy replies of the untouched base, whatever the policy is; one that is refused is empty."""
        requests = [SampleRequest.greedy(prompt, max_tokens) for prompt in prompts]
        return [completion.text for completion in await asyncio.gather(*map(self.sample, requests))]

    async def run_trial(self, trial: Trial) -> Outcome:
        """Train an adapter on a recipe and answer the questions, closed book."""
        ...

    async def train_adapter(self, trial: Trial) -> tuple[Outcome, Adapter | None]:
        """Only train; what was trained comes back, without the adapter below it."""
        ...

    async def update(
        self, finetune: FinetuneSpec, on_steps: OnSteps = untold, keeper: Keeper | None = None
    ) -> UpdateResult:
        """Train an adapter on top of a policy's."""
        ...

    async def train_generator(self, spec: GeneratorSpec, before: Trained, steps: int) -> Trained:
        """Take so many steps more of the training of a network that writes adapters."""
        ...

    async def write_adapters(self, lora: LoraSpec, trained: Trained, passages: Sequence[Text]) -> Sequence[Adapter]:
        """The adapter that it writes of each passage."""
        ...

    def rebalance(self) -> Allocation:
        """Between rounds: divide the workers again by how long each kind was busy, where the config wants that."""
        ...

    def gone(self) -> str:
        """Why the workers cannot come back; empty while they can."""
        ...


def open_cluster(config: Config, on_span: OnSpan) -> Cluster:
    """The workers that a config describes; nothing of Ray is imported for those in this process."""
    if config.workers.address == IN_PROCESS:
        from seal_ray.workers.in_process import InProcessCluster

        return InProcessCluster(config, on_span)
    from seal_ray.workers.cluster import RayCluster

    return RayCluster(config, on_span)
