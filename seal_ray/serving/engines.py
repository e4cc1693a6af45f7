"""What is behind the server: a model that answers one conversation after another, or vLLM, many at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any, Literal, Protocol, get_args

from seal_ray.endpoints.openai_client import Reply
from seal_ray.serving.answering import Answerer
from seal_ray.types import Chat, DataError, UserError
from seal_ray.workers.one_thread import OneThread

EngineName = Literal["auto", "transformers", "vllm"]
DEFAULT_TOKENS = 256
"""Longest reply where a request names no length: a small model may talk until its context ends."""


class Served(Protocol):
    """What answers conversations."""

    most: int
    """Requests that may be with it; who comes then is told to come again."""

    async def reply(self, turns: Chat, longest: int | None, *, learnt: bool, **sampling: Any) -> Reply:
        """With what was learnt or without; `DataError` where the context has no room for so much."""

    async def close(self) -> None: ...


class InTurn:
    """Answers one conversation after another; nothing more is computed for a client that leaves."""

    most = 32

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self._thread = OneThread("model")

    async def reply(self, turns: Chat, longest: int | None, *, learnt: bool, **sampling: Any) -> Reply:
        left = threading.Event()

        def answer() -> Reply:
            tokens = length_of_reply(longest, self._answerer.room(turns))
            return self._answerer.answer(turns, tokens, learnt=learnt, left=left.is_set, **sampling)

        try:
            return await self._thread.run(answer)
        except asyncio.CancelledError:
            left.set()
            raise

    async def close(self) -> None:
        self._thread.close()


def length_of_reply(longest: int | None, room: int) -> int:
    """Tokens that a reply may have, where the context has this much room after the messages."""
    if longest and longest > room >= 1:  # without any room it is the messages that are too long
        raise DataError(f"max_tokens is {longest}, and the model's context has room for {room} after the messages")
    return longest or min(DEFAULT_TOKENS, room)


@asynccontextmanager
async def opened(directory: str, engine: str) -> AsyncIterator[Served]:
    """Serve what a directory has learnt by this engine, within this context."""
    if engine not in get_args(EngineName):
        raise UserError(f"--engine {engine!r}: give one of {', '.join(get_args(EngineName))}")
    served: Served
    if engine == "vllm" or (engine == "auto" and _vllm_fits()):
        from seal_ray.serving.by_vllm import ByVllm

        served = await ByVllm.of(directory)
    else:
        served = InTurn(Answerer.of(directory))
    try:
        yield served
    finally:
        await served.close()


def _vllm_fits() -> bool:
    """Whether it is installed and there is a GPU; on a CPU it takes long to start and gains little."""
    import torch

    return torch.cuda.is_available() and find_spec("vllm") is not None
