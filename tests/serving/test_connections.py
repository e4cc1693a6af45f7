"""Clients that are slow, that leave, or that ask for nothing: they cost the server little, and others nothing."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from seal_ray.bank.sampling import Sampling
from seal_ray.serving import server as serving
from seal_ray.serving.answering import Answerer
from seal_ray.serving.engines import InTurn
from seal_ray.serving.server import Server

QUESTION = {"role": "user", "content": "What does it bring on Mondays?"}
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


@asynccontextmanager
async def connected(server: Server, times: int = 1) -> AsyncIterator[list[Connection]]:
    """Connections to a server that lasts as long as this."""
    async with server.at("127.0.0.1", 0) as url:
        port = int(url.split(":")[2].split("/")[0])
        yield [Connection(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(times)]


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def ask(self, max_tokens: int, **how: Any) -> None:
        body = json.dumps({"model": "notes", "messages": [QUESTION], "max_tokens": max_tokens, **how}).encode()
        self.writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def status(self) -> int:
        """Of the next answer, whose body is read too."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        await self.reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        return int(head.split()[1])


@pytest.fixture
def server(answerer: Answerer) -> Server:
    return Server(InTurn(answerer), "notes", loopback=True)


def test_a_connection_that_asks_for_nothing_or_never_finishes_asking_is_dropped(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with connected(server, 3) as (silent, half, served):
            half.writer.write(HEAD)
            served.ask(1)
            assert await served.status() == 200
            for each in (silent, half, served):
                assert await each.reader.read() == b""

    monkeypatch.setattr(serving, "LONGEST_SILENCE", 1.0)
    run(check())


def test_who_leaves_while_the_reply_is_written_is_written_no_more(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gone, written = threading.Event(), threading.Event(), 0
    step = Sampling.step

    def counted(self: Sampling[Any]) -> Any:
        nonlocal written
        written += 1
        if written == 3:
            begun.set()
            assert gone.wait(30)
        return step(self)

    async def check() -> None:
        async with connected(server, 2) as (leaving, staying):
            leaving.ask(1900, temperature=2, seed=1)
            await asyncio.to_thread(begun.wait, 30)
            leaving.writer.close()
            while server._waiting:
                await asyncio.sleep(0)
            gone.set()
            staying.ask(5)
            assert await staying.status() == 200

    monkeypatch.setattr(Sampling, "step", counted)
    run(check())
    assert written == 3 + 5


def test_what_is_no_request_is_refused_and_not_quoted_in_the_log(
    server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        async with connected(server) as (garbled,):
            garbled.writer.write(HEAD + b"Authorization: Bearer a-secret\x01\r\n\r\n")
            assert await garbled.status() == 400

    run(check())
    assert "a-secret" not in caplog.text + "".join(capfd.readouterr())
