"""Sampling with vLLM: continuous batching, shared prefixes, and policies loaded as adapters while it runs.

The base model's weights are read once. An adapter is loaded under a name and number that are never used again, so
nothing that is cached under one is reused under another, and one is loaded while requests under others are in flight.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seal_ray.model.loading import ModelSpec, load_tokenizer
from seal_ray.model.locate import local_copy
from seal_ray.plain import first_line
from seal_ray.types import AdapterRef, Completion, DataError, Prompt, SampleRequest, UserError
from seal_ray.workers.engines.guard import end_with_me
from seal_ray.workers.engines.text import render_prompt
from seal_ray.workers.errors import WorkerLost

if TYPE_CHECKING:
    from seal_ray.adapters.lora import Adapter

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The sizes vLLM can set aside for an adapter."""
_CPU_CACHE_BYTES = 1 << 30
_CPU_BLOCK = 32  # tokens that share a prefix-cache entry; vLLM's own 128 on CPU is longer than many prompts


def rank_limit(rank: int) -> int:
    """The smallest limit vLLM can be started with that holds adapters of this rank."""
    for limit in RANKS:
        if rank <= limit:
            return limit
    raise UserError(
        f"vLLM serves adapters up to rank {RANKS[-1]}, and this run needs rank {rank}; "
        'lower it (update.max_rank compresses the policy), or use sampling.engine = "transformers"'
    )


def precision(of_model: str) -> str:
    """The precision that vLLM computes in for a model of this one: it has no float64."""
    return "float32" if of_model == "float64" else of_model


class VllmEngine:
    """One vLLM engine that serves a number of policies at once, and beside them the adapters of a number of trials."""

    name = "vllm"

    def __init__(
        self,
        spec: ModelSpec,
        *,
        max_lora_rank: int,
        max_model_len: int | None = None,
        policies: int = 1,
        adapters: int = 0,
    ) -> None:
        self._rank_limit = rank_limit(max_lora_rank)
        spec = replace(spec, path=local_copy(spec.path))  # vLLM reads neither GGUF files nor object storage
        _prepare(spec)
        self._tokenizer = load_tokenizer(spec)
        before = multiprocessing.active_children()
        self._llm, self.max_model_len = _start(spec, max_model_len, self._rank_limit, policies + adapters)
        started = [child.pid for child in multiprocessing.active_children() if child not in before]
        self._guard = end_with_me([pid for pid in started if pid])
        self._folder = tempfile.TemporaryDirectory(prefix="seal-ray-adapters-")
        self._numbers = itertools.count(1)
        self._loaded: dict[AdapterRef, Any] = {}
        """What policies are served from, and those before them that requests in flight still need."""
        self._held: frozenset[AdapterRef] = frozenset()
        self._in_flight: Counter[AdapterRef] = Counter()
        self._freed = asyncio.Condition()
        self._places = policies + 1
        """How many adapters fit, with one that is no longer held and that a late request is still under."""
        self._slots = asyncio.Semaphore(adapters)

    @classmethod
    async def start(cls, spec: ModelSpec, **options: Any) -> VllmEngine:
        """The constructor, away from the event loop: it takes half a minute even for a small model."""
        return await asyncio.to_thread(cls, spec, **options)

    async def sample(self, request: SampleRequest) -> Completion:
        ids = self._rendered(request.prompt)
        params: dict[str, Any] = {"seed": request.seed, "temperature": request.temperature, "top_p": request.top_p}
        if request.schema is not None:
            from vllm.sampling_params import StructuredOutputsParams

            params["structured_outputs"] = StructuredOutputsParams(json=request.schema)
        async with self._under(request.base) as lora:
            return await self._complete(ids, request.max_tokens, request.stop, lora, **params)

    async def hold(self, *adapters: Adapter) -> None:
        async with self._freed:
            self._held = frozenset(adapter.ref for adapter in adapters)
            await self._unload_unused()
            for adapter in adapters:
                if adapter.ref not in self._loaded:
                    await self._freed.wait_for(lambda: len(self._loaded) < self._places)
                    self._loaded[adapter.ref] = await self._load(adapter, "policy")

    async def _unload_unused(self) -> None:
        for ref in self._loaded.keys() - self._held:
            if not self._in_flight[ref]:
                await self._llm.remove_lora(self._loaded.pop(ref).lora_int_id)
                self._freed.notify_all()

    async def log_probs(self, ids: Sequence[int], adapter: AdapterRef) -> list[float]:
        if len(ids) >= self.max_model_len:
            raise DataError(f"the text has {len(ids)} tokens and the engine's context {self.max_model_len}")
        async with self._under(adapter) as lora:
            output = await self._generate(list(ids), lora, max_tokens=1, temperature=0.0, prompt_logprobs=0)
        return [row[token].logprob for token, row in zip(ids[1:], output.prompt_logprobs[1:], strict=True)]

    async def answers(
        self, adapter: Adapter | None, prompts: Sequence[Prompt], max_tokens: int, stop: tuple[str, ...] = ()
    ) -> list[Completion]:
        """Greedy answers of the base plus one adapter: a trial's own, with the policy's stacked into it.

        As many calls as `adapters` run at once; further ones wait, so no adapter is evicted while it is in use.
        """
        rendered = [self._rendered(prompt) for prompt in prompts]
        async with self._slots:
            lora = await self._load(adapter, "trial") if adapter else None
            try:
                return list(
                    await asyncio.gather(
                        *(self._complete(ids, max_tokens, stop, lora, temperature=0.0) for ids in rendered)
                    )
                )
            finally:
                if lora is not None:
                    await self._llm.remove_lora(lora.lora_int_id)

    async def empty_cache(self) -> None:
        """Forget the prefixes of earlier prompts."""
        if not await self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM did not empty its prefix cache, which requests in flight still use")

    async def close(self) -> None:
        llm, self._llm = self._llm, None
        if llm is not None:
            await asyncio.to_thread(llm.shutdown, timeout=0.5)
            self._guard.kill()
            self._guard.wait()
            self._folder.cleanup()

    def _rendered(self, prompt: Prompt) -> list[int]:
        ids = render_prompt(self._tokenizer, prompt)
        if not 0 < len(ids) < self.max_model_len:
            raise DataError(f"the prompt has {len(ids)} tokens and the engine's context {self.max_model_len}")
        return ids

    @asynccontextmanager
    async def _under(self, adapter: AdapterRef) -> AsyncIterator[Any]:
        """vLLM's request for a policy's adapter, which stays loaded within this context; None for the base."""
        if not adapter.key:
            yield None
            return
        if adapter not in self._held:
            raise RuntimeError(f"adapter {adapter.key} is asked for, and is not held here")
        self._in_flight[adapter] += 1
        try:
            yield self._loaded[adapter]
        finally:
            self._in_flight[adapter] -= 1
            if adapter not in self._held:
                async with self._freed:
                    await self._unload_unused()

    async def _load(self, adapter: Adapter, name: str) -> Any:
        """An adapter in vLLM's memory, under a name and number never used before."""
        from vllm.lora.request import LoRARequest

        if adapter.rank > self._rank_limit:
            raise UserError(
                f"an adapter of rank {adapter.rank} is above this engine's limit of {self._rank_limit}; "
                "start it with a higher one, or compress the policy with update.max_rank"
            )
        number = next(self._numbers)
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            await asyncio.to_thread(adapter.save, folder)
            request = LoRARequest(f"{name}-{number}", number, folder)
            if not await self._llm.add_lora(request):
                raise RuntimeError(f"vLLM did not load adapter {request.lora_name}")
        return request

    async def _complete(
        self, ids: list[int], max_tokens: int, stop: tuple[str, ...], lora: Any, **params: Any
    ) -> Completion:
        output = await self._generate(ids, lora, max_tokens=max_tokens, stop=list(stop), **params)
        written = output.outputs[0]
        finished = written.finish_reason == "stop"
        ended_by_token = finished and written.stop_reason is None
        written_ids = written.token_ids[:-1] if ended_by_token else written.token_ids
        # Decoded as the bank does, so that both ways of answering give the same text.
        text = self._tokenizer.decode(written_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        ends = [at for at in (text.find(mark) for mark in stop) if at >= 0]
        return Completion(text[: min(ends, default=len(text))], len(written_ids), finished)

    async def _generate(self, ids: list[int], lora: Any, **params: Any) -> Any:
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError

        output = None
        try:
            settings = SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, **params)
            request_id = f"request-{next(self._numbers)}"
            async for part in self._llm.generate(tokens_input(ids), settings, request_id, lora_request=lora):
                output = part
        except EngineDeadError as error:
            raise WorkerLost("the vLLM engine behind this sampler died") from error
        except (ValueError, VLLMClientError) as error:
            raise DataError(f"vLLM refuses this request: {first_line(error)}") from error
        if output is None or not output.finished:
            raise WorkerLost("the vLLM engine behind this sampler gave no output")
        return output


def _prepare(spec: ModelSpec) -> None:
    """Set what vLLM reads from the environment, before it is imported; its engine process inherits that."""
    import torch

    if find_spec("vllm") is None:
        raise UserError(
            'sampling.engine is "vllm", which is not installed here; install seal-ray[vllm], or use "transformers"'
        )
    settings = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    if Path(spec.path).is_dir():
        settings["HF_HUB_OFFLINE"] = "1"
    if not torch.cuda.is_available():
        settings |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # pinned threads of several engines would share cores
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process behind the engine, not two
            "TORCHDYNAMO_DISABLE": "1",  # its few compiled functions cost seconds and a C++ compiler
        }
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def engine_options(
    spec: ModelSpec, max_model_len: int | None, rank: int, adapters: int, on_cpu: bool
) -> dict[str, Any]:
    """What vLLM is started with. On several GPUs the model is split over them; of a shared one it takes its part."""
    options: dict[str, Any] = {
        "model": spec.path,
        "revision": spec.revision,
        "tokenizer_revision": spec.revision,
        "dtype": spec.dtype,
        "load_format": "safetensors",
        "max_model_len": max_model_len,
        "gpu_memory_utilization": spec.memory,
        "tensor_parallel_size": max(1, int(spec.gpus)),
        "seed": 0,
        "enable_prefix_caching": True,
        "enable_lora": True,
        "max_lora_rank": rank,
        "max_loras": adapters,
        "max_cpu_loras": adapters + 1,  # one that is no longer held, and that a late request is still under
        "disable_log_stats": True,
    }
    if on_cpu:
        # Chunked prefill rewinds a request's random generator, which a CPU generator cannot do.
        options |= {
            "enforce_eager": True,
            "block_size": _CPU_BLOCK,
            "kv_cache_memory_bytes": _CPU_CACHE_BYTES,
            "enable_chunked_prefill": False,
        }
        if max_model_len:  # else vLLM takes as many as the model's own context
            options["max_num_batched_tokens"] = max(4096, max_model_len)
    return options


def _start(spec: ModelSpec, max_model_len: int | None, rank: int, adapters: int) -> tuple[Any, int]:
    """A running engine and the length of its context."""
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.exceptions import VLLMClientError
        from vllm.model_executor.models.interfaces import supports_lora
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise UserError(
            f"vLLM is installed but cannot be imported ({first_line(error)}); "
            'install seal-ray[vllm] again, or use sampling.engine = "transformers"'
        ) from error
    options = engine_options(spec, max_model_len, rank, adapters, current_platform.is_cpu())
    try:
        config = AsyncEngineArgs(**options).create_engine_config()
        model = config.model_config
        kind, _ = model.registry.resolve_model_cls(model.architectures, model)
    except (ValueError, OSError, VLLMClientError) as error:
        raise UserError(f"vLLM cannot serve {spec.path!r}: {first_line(error)}") from error
    if not supports_lora(kind):
        raise UserError(
            f"vLLM cannot serve adapters on {kind.__name__}, the architecture of {spec.path!r}; "
            'use sampling.engine = "transformers"'
        )
    return AsyncLLM.from_vllm_config(config, disable_log_stats=True), model.max_model_len
