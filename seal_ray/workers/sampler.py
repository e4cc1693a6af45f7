"""The actor that writes self-edits, with whichever engine the config names."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from seal_ray.config import SEQUENCES_AT_ONCE, Config
from seal_ray.methods.base import by_generator, by_skill
from seal_ray.methods.past import PARTS, UPDATES
from seal_ray.model.loading import ModelSpec
from seal_ray.model.locate import local_copy
from seal_ray.plain import kept, one_line
from seal_ray.types import AdapterRef, Completion, DataError, SampleRequest, Trial, UserError
from seal_ray.workers.engines.base import Engine
from seal_ray.workers.engines.canary import Probe, Reading, check
from seal_ray.workers.engines.vllm import VllmEngine, precision, rank_limit
from seal_ray.workers.pulse import Beating, on_its_own_thread

if TYPE_CHECKING:
    from seal_ray.adapters.lora import Adapter

logger = logging.getLogger(__name__)

ENGINES = ("auto", "vllm", "transformers", "endpoint")


@dataclass(frozen=True)
class EngineSpec:
    """Which engine a sampler runs, and what it must be able to hold."""

    name: str
    max_rank: int
    """The largest adapter a run will load: policies add up, unless they are compressed."""
    context: int = 0
    policies: int = 1
    """How many adapters of policies it serves at once."""
    trial_adapters: int = 0
    endpoint: str = ""
    endpoint_model: str = ""
    key_env: str = ""
    timeout: float = 0.0
    """Seconds after which a request to the endpoint has failed."""

    @classmethod
    def of(cls, config: Config) -> EngineSpec:
        """Checked before anything is started."""
        sampling, update = config.sampling, config.update
        name = sampling.engine
        if name not in ENGINES:
            raise UserError(f"sampling.engine {name!r} is unknown; known: {', '.join(ENGINES)}")
        if name == "auto":
            name = "vllm" if config.workers.gpus_per_sampler and find_spec("vllm") else "transformers"
            logger.info("sampling.engine auto: using %s", name)
        if name == "endpoint" and not sampling.endpoint:
            raise UserError('sampling.engine is "endpoint": give its base URL as sampling.endpoint')
        by_vllm = config.trial.eval_engine == "vllm"
        if by_vllm and name != "vllm":
            raise UserError(f'trial.eval_engine is "vllm", which needs sampling.engine "vllm" (it is "{name}")')
        rank = update.max_rank or update.lora.rank * max(1, config.run.rounds)
        if config.continual.sequences and not update.max_rank:
            rank += config.continual.passages * config.trial.lora.rank
        if any(map(by_skill, config.evaluation.methods)):  # the skill, and the passages that it is learnt on
            skill = update.max_rank or PARTS * UPDATES * update.lora.rank
            rank = max(rank, skill + config.trial.lora.rank)
        if by_vllm:  # what a network writes of a passage is asked alone, or with what is trained on top of it
            written = config.generated.rank if any(map(by_generator, config.evaluation.methods)) else 0
            rank = max(rank, written) + config.trial.lora.rank
        if name == "vllm":
            rank_limit(rank)
        return cls(
            name,
            rank,
            context=sampling.context,
            policies=max(1, min(config.continual.sequences * len(config.continual.ways), SEQUENCES_AT_ONCE)),
            trial_adapters=config.workers.slots if by_vllm else 0,
            endpoint=sampling.endpoint,
            endpoint_model=sampling.endpoint_model,
            key_env=sampling.key_env,
            timeout=sampling.timeout,
        )

    def dtype(self, of_model: str) -> str:
        """The precision it samples in, where the trials' is this."""
        return precision(of_model) if self.name == "vllm" else of_model


class Sampler(Beating):
    def __init__(self, model: ModelSpec, engine: EngineSpec) -> None:
        self._model, self._spec = model, engine
        self._name = f"sampler-{os.getpid()}"
        self._held: frozenset[AdapterRef] = frozenset()

    async def setup(self) -> None:
        self._engine = await _build(self._model, self._spec, self.feel)

    async def hold(self, probes: Mapping[AdapterRef, Probe], *adapters: Adapter) -> list[Reading]:
        """Serve these from now on, and no others; those that are new and have a probe are found to be what they are."""
        new = [adapter.ref for adapter in adapters if adapter.ref not in self._held]
        await self._engine.hold(*adapters)
        self._held = frozenset(adapter.ref for adapter in adapters)
        tolerance = _TOLERANCE[self._model.dtype]
        return [await check(self._engine, ref, probes[ref], tolerance) for ref in new if ref in probes]

    async def sample(self, request: SampleRequest) -> Completion:
        if request.base.key and request.base not in self._held:
            raise RuntimeError(f"a request under adapter {request.base.key} reached a sampler that does not hold it")
        try:
            completion = await self._engine.sample(request)
        except DataError as error:
            return Completion("", 0, finished=False, refused=one_line(str(error)), worker=self._name)
        finally:
            self.beat()
        return replace(completion, text=kept(completion.text), worker=self._name)

    async def answer(self, adapter: Adapter | None, trial: Trial) -> tuple[Completion, ...]:
        """Answers to a trained trial's questions, from this engine instead of the bank."""
        assert isinstance(self._engine, VllmEngine)
        try:
            answers = await self._engine.answers(adapter, trial.questions, trial.max_answer_tokens, trial.stop)
        except DataError as error:
            answers = [Completion("", 0, finished=False, refused=one_line(str(error)))]
        finally:
            self.beat()
        return tuple(replace(answer, text=kept(answer.text), worker=self._name) for answer in answers)

    @on_its_own_thread
    async def pulse(self) -> int:
        """With an endpoint the pulse always beats: requests to a server have deadlines of their own."""
        return time.monotonic_ns() if self._spec.name == "endpoint" else self._beats

    async def close(self) -> None:
        """End the engine. A pool kills the whole actor instead."""
        await self._engine.close()


_ENDPOINT_RETRIES = 3
"""Few: an endpoint that is away is waited for by the driver, which can say so."""
_TOLERANCE = {"bfloat16": 0.1, "float16": 0.05, "float32": 0.01, "float64": 0.01}
"""Nats per token that rounding may put between an engine and the bank."""


async def _build(model: ModelSpec, spec: EngineSpec, feel: Callable[[Any], None]) -> Engine:
    if spec.name == "vllm":
        path = await asyncio.to_thread(local_copy, model.path)
        return await VllmEngine.start(
            replace(model, path=path, dtype=spec.dtype(model.dtype)),
            max_lora_rank=spec.max_rank,
            max_model_len=spec.context or None,
            policies=spec.policies,
            adapters=spec.trial_adapters,
        )
    if spec.name == "endpoint":
        from seal_ray.endpoints.openai_client import ChatClient
        from seal_ray.workers.engines.endpoint import EndpointEngine

        client = ChatClient(
            spec.endpoint, spec.endpoint_model, spec.key_env, timeout=spec.timeout, retries=_ENDPOINT_RETRIES
        )
        return EndpointEngine(client)
    from seal_ray.workers.engines.transformers import TransformersEngine

    return await TransformersEngine.start(model, feel)
