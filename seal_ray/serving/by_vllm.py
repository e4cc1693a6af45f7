"""Many conversations at a time, through vLLM, under what was learnt or under the base."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

from seal_ray.endpoints.openai_client import Reply
from seal_ray.plain import kept
from seal_ray.serving.answering import Known, Shown
from seal_ray.serving.engines import length_of_reply
from seal_ray.types import BASE, Chat, SampleRequest
from seal_ray.workers.engines.vllm import VllmEngine, precision


class ByVllm:
    most = 256

    def __init__(self, engine: VllmEngine, known: Known, shown: Shown) -> None:
        self._engine, self._known, self._shown = engine, known, shown

    @classmethod
    async def of(cls, directory: str) -> Self:
        """What a directory holds, on an engine of its own, which takes half a minute to start."""
        known = Known.of(directory)
        spec = replace(known.spec, dtype=precision(known.spec.dtype))
        engine = await VllmEngine.start(spec, max_lora_rank=known.adapter.rank)
        await engine.hold(known.adapter)
        return cls(engine, known, Shown(known.tokenizer, known.chats, engine.max_model_len))

    async def reply(self, turns: Chat, longest: int | None, *, learnt: bool, **sampling: Any) -> Reply:
        prompt, room = self._shown.rendered(turns)
        tokens = length_of_reply(longest, room)
        seed = sampling.pop("seed") % (1 << 63)  # vLLM's is a signed number
        stop = (*sampling.pop("stop"), *self._shown.stop)
        base = self._known.adapter.ref if learnt else BASE
        request = SampleRequest(base, self._shown.prompt(turns), seed, max_tokens=tokens, stop=stop, **sampling)
        found = await self._engine.sample(request)
        return Reply(kept(found.text).strip(), "stop" if found.finished else "length", len(prompt), found.tokens)

    async def close(self) -> None:
        await self._engine.close()
