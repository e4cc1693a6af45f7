"""The actor that writes self-edits, with whichever engine the config names."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from seal_ray.config import Config
from seal_ray.types import Completion, DataError, SampleRequest, UserError
from seal_ray.workers.engines.base import Engine
from seal_ray.workers.loading import ModelSpec

if TYPE_CHECKING:
    from seal_ray.bank import Adapter

logger = logging.getLogger(__name__)

ENGINES = ("auto", "vllm", "transformers", "endpoint")


@dataclass(frozen=True)
class EngineSpec:
    """Which engine a sampler runs."""

    name: str
    in_flight: int
    """Requests one sampler holds at a time; the engine batches them."""

    @classmethod
    def of(cls, config: Config) -> EngineSpec:
        name = config.sampling.engine
        if name not in ENGINES:
            raise UserError(f"sampling.engine {name!r} is unknown; known: {', '.join(ENGINES)}")
        if name == "auto":
            name = "vllm" if config.workers.gpus_per_sampler and find_spec("vllm") else "transformers"
            logger.info("sampling.engine auto: using %s", name)
        return cls(name, in_flight=256)


class Sampler:
    def __init__(self, model: ModelSpec, engine: EngineSpec) -> None:
        self._model, self._spec = model, engine
        self._name = f"sampler-{os.getpid()}"
        self._version = 0

    async def setup(self) -> None:
        self._engine = await _build(self._model, self._spec)

    async def set_policy(self, version: int, adapter: Adapter | None) -> None:
        """Called between rounds; requests in flight are finished first."""
        await self._engine.set_policy(version, adapter)
        self._version = version

    async def sample(self, request: SampleRequest) -> Completion:
        if request.policy != self._version:
            raise RuntimeError(f"a request for policy {request.policy} reached a sampler that holds {self._version}")
        try:
            completion = await self._engine.sample(request)
        except DataError as error:
            return Completion("", 0, finished=False, refused=str(error), worker=self._name)
        return replace(completion, worker=self._name)


async def _build(model: ModelSpec, spec: EngineSpec) -> Engine:
    from seal_ray.workers.engines.transformers import TransformersEngine

    return await TransformersEngine.start(model)
