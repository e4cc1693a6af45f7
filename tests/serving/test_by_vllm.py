"""What was learnt is served by vLLM as it is through a bank, to many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from seal_ray.endpoints.openai_client import ChatClient
from seal_ray.serving.answering import Answerer
from seal_ray.serving.engines import InTurn, opened
from seal_ray.serving.server import Server
from seal_ray.types import Message, UserError

pytestmark = pytest.mark.vllm

QUESTIONS = ("What does it bring on Mondays?", "Who is it?", "Where?", "What is said of the boat?")


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        opened(str(directory), "vllm") as model,
        Server(model, "notes", loopback=True).at("127.0.0.1", 0) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        yield client


def test_vllm_serves_what_a_bank_serves_to_many_at_a_time_and_refuses_the_same(
    directory: Path, answerer: Answerer
) -> None:
    async def check() -> None:
        async with served(directory) as http:
            for name in ("notes", "base"):
                async with ChatClient(str(http.base_url), name) as client:
                    asked = [client.chat((Message("user", question),), max_tokens=12) for question in QUESTIONS]
                    replies = await asyncio.gather(*asked)
                alone = [
                    answerer.answer((Message("user", question),), 12, learnt=name == "notes") for question in QUESTIONS
                ]
                assert replies == alone

            async def post(**changed: Any) -> httpx.Response:
                turn = {"role": "user", "content": QUESTIONS[0]}
                return await http.post("chat/completions", json={"model": "notes", "messages": [turn]} | changed)

            how = {"temperature": 2, "max_tokens": 20}
            first, again, other = [(await post(**how, seed=seed)).json() for seed in (-5, -5, 6)]
            assert first["choices"] == again["choices"] != other["choices"]
            too_long = await post(max_tokens=10**6)
            assert too_long.status_code == 400
            assert "max_tokens is 1000000" in too_long.json()["error"]["message"]
            many = await post(messages=[{"role": "user", "content": "long " * 2000}])
            assert (many.status_code, many.json()["error"]["code"]) == (400, "context_length_exceeded")

    asyncio.run(asyncio.wait_for(check(), 300))


def test_vllm_opens_what_lies_on_a_gguf_file(gguf_directory: Path) -> None:
    async def check() -> None:
        async with opened(str(gguf_directory), "vllm") as model:
            assert not isinstance(model, InTurn)

    asyncio.run(asyncio.wait_for(check(), 300))


def test_an_engine_that_there_is_not_is_refused_and_auto_is_transformers_without_a_gpu(directory: Path) -> None:
    async def check() -> None:
        with pytest.raises(UserError, match="--engine 'vlm': give one of auto, transformers, vllm"):
            async with opened(str(directory), "vlm"):
                pass
        async with opened(str(directory), "auto") as model:
            assert isinstance(model, InTurn)

    asyncio.run(check())
