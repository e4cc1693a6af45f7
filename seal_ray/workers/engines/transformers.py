"""Sampling with the Transformers model itself, batched through a bank: nothing to install, any device."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seal_ray.types import Completion, DataError, SampleRequest
from seal_ray.workers.engines.text import render_prompt
from seal_ray.workers.loading import ModelSpec, load_model, load_tokenizer

if TYPE_CHECKING:
    from seal_ray.bank import Adapter, Bank, SampleSpec

_BATCH = 64
_GATHER_SECONDS = 0.02  # how long the first request waits for company


class TransformersEngine:
    """Requests that wait are sampled together; each row draws from its own seed, so company changes nothing."""

    name = "transformers"

    def __init__(self, bank: Bank, tokenizer: Any) -> None:
        self._bank, self._tokenizer = bank, tokenizer
        self._waiting: list[tuple[SampleSpec, asyncio.Future[Completion]]] = []
        self._sampling: asyncio.Task[None] | None = None
        self._idle = asyncio.Lock()

    @classmethod
    async def start(cls, spec: ModelSpec) -> TransformersEngine:
        from seal_ray.bank import Bank

        tokenizer = await asyncio.to_thread(load_tokenizer, spec)
        model = await asyncio.to_thread(load_model, spec)
        return cls(Bank(model, tokenizer, slots=1), tokenizer)

    async def sample(self, request: SampleRequest) -> Completion:
        from seal_ray.bank import SampleSpec

        prompt = tuple(render_prompt(self._tokenizer, request.prompt))
        room = self._bank.positions - len(prompt)
        if room < 1:
            raise DataError(f"the prompt has {len(prompt)} tokens and the model's context {self._bank.positions}")
        spec = SampleSpec(
            prompt, request.seed, request.temperature, request.top_p, min(request.max_tokens, room), request.stop
        )
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append((spec, future))
        if self._sampling is None or self._sampling.done():
            self._sampling = asyncio.create_task(self._drain())
        return await future

    async def set_policy(self, version: int, adapter: Adapter | None) -> None:
        async with self._idle:
            self._bank.set_policy(adapter)

    async def log_probs(self, ids: Sequence[int]) -> list[float]:
        from seal_ray.bank import TokenText

        async with self._idle:
            return list(self._bank.log_probs([TokenText.of((), ids)])[0])

    async def close(self) -> None:
        if self._sampling:
            await self._sampling

    async def _drain(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            async with self._idle:
                try:
                    texts = await asyncio.to_thread(self._bank.sample, [spec for spec, _ in batch])
                except Exception as error:
                    for _, future in batch:
                        future.set_exception(error)
                    continue
            for (_, future), text in zip(batch, texts, strict=True):
                future.set_result(Completion(text.text, len(text.ids), text.finished))
