"""What was learnt answers clients of OpenAI's API; whoever should not ask is refused, and what is wrong is said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from seal_ray.endpoints.openai_client import ChatClient, NoSuchPath, Reply
from seal_ray.serving import server as serving
from seal_ray.serving.answering import Answerer
from seal_ray.serving.engines import DEFAULT_TOKENS, InTurn
from seal_ray.serving.server import LONGEST_BODY, TOKEN, Server, is_loopback
from seal_ray.types import DataError, Message, UserError

QUESTION = "What does it bring on Mondays?"
TURNS = (Message("user", QUESTION),)
BODY = {"model": "notes", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 12}


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


@asynccontextmanager
async def serve(answerer: Any, loopback: bool = True, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that lasts as long as this."""
    async with (
        Server(InTurn(answerer), "notes", loopback, token).at("127.0.0.1", 0) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        yield client


async def ask(client: httpx.AsyncClient, **changed: Any) -> httpx.Response:
    return await client.post("chat/completions", json=BODY | changed)


async def health(client: httpx.AsyncClient) -> httpx.Response:
    return await client.get(client.base_url.join("/health"))


def test_our_own_client_gets_the_answers_that_ask_gives_with_what_was_learnt_and_without(answerer: Answerer) -> None:
    async def check() -> None:
        async with serve(answerer) as http:
            for name in ("notes", "base"):
                async with ChatClient(str(http.base_url), name) as client:
                    reply = await client.chat(TURNS, max_tokens=12)
                assert reply.text == answerer.ask(QUESTION, 12, learnt=name == "notes")
                assert reply == answerer.answer(TURNS, 12, learnt=name == "notes")
                assert reply.prompt_tokens == len(f"<user> {QUESTION}.\n<assistant> "), "bytes, and the end of a turn"
            async with ChatClient(str(http.base_url), "other") as client:
                with pytest.raises(NoSuchPath, match="'notes' and 'base'"):
                    await client.chat(TURNS)

    run(check())
    assert answerer.ask(QUESTION, 12) != answerer.ask(QUESTION, 12, learnt=False)


def test_both_models_are_listed_and_the_server_says_that_it_is_there(answerer: Answerer) -> None:
    async def check() -> None:
        async with serve(answerer) as client:
            listed = (await client.get("models")).json()
            assert [row["id"] for row in listed["data"]] == ["notes", "base"]
            assert (await health(client)).json() == {"status": "ok"}

    run(check())


def test_a_stream_says_what_the_whole_reply_says_and_ends(answerer: Answerer) -> None:
    async def check() -> None:
        async with serve(answerer) as client:
            whole = (await ask(client)).json()
            streamed = await ask(client, stream=True, stream_options={"include_usage": True})
            assert streamed.headers["content-type"].startswith("text/event-stream")
            *chunks, last, end = streamed.text.split("\n\n")
            assert (last, end) == ("data: [DONE]", "")
            *deltas, usage = [json.loads(chunk.removeprefix("data: ")) for chunk in chunks]
            text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in deltas)
            assert text == whole["choices"][0]["message"]["content"]
            assert deltas[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
            assert usage["usage"] == whole["usage"]

    run(check())


def test_a_seed_repeats_what_is_sampled_and_without_one_it_differs(answerer: Answerer) -> None:
    async def check() -> None:
        async with serve(answerer) as client:

            async def text(**how: Any) -> str:
                return (await ask(client, temperature=2, max_completion_tokens=30, **how)).json()["choices"][0][
                    "message"
                ]

            assert await text(seed=-5) == await text(seed=-5)
            assert await text(seed=-5) != await text(seed=6)
            assert await text() != await text()

    run(check())


def test_a_reply_ends_before_the_first_stop_text_and_where_none_is_named_at_a_length(answerer: Answerer) -> None:
    async def check() -> None:
        async with serve(answerer) as client:
            how = {"temperature": 2, "seed": 1, "max_tokens": 40}
            text = (await ask(client, **how)).json()["choices"][0]["message"]["content"]
            stop = text[5:7]
            cut = (await ask(client, **how, stop=stop)).json()["choices"][0]
            assert (cut["message"]["content"], cut["finish_reason"]) == (text[: text.index(stop)].strip(), "stop")
            longest = (await ask(client, max_tokens=None, temperature=2, seed=1)).json()["usage"]
            assert longest["completion_tokens"] <= DEFAULT_TOKENS

    run(check())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"messages": []}, "messages: "),
        ({"messages": None}, "messages: "),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [*BODY["messages"], {"role": "system", "content": "x"}]}, "a system turn comes first"),
        ({"messages": [{"role": "user", "content": "x" * 4000}]}, "the model's context"),
        ({"messages": [{"role": "user", "content": "x" * 4000}], "max_tokens": 3}, "the conversation has "),
        ({"max_tokens": 2048}, "room for 1997 after"),
        ({"max_tokens": 0}, "max_tokens: "),
        ({"max_tokens": "12"}, "max_tokens: "),
        ({"temperature": -1}, "temperature: "),
        ({"top_p": 0}, "top_p: "),
        ({"n": 2}, "n: "),
        ({"tools": [{}]}, "tools: "),
        ({"stop": [""]}, "stop"),
        ({"model": 3}, "model: "),
    ],
)
def test_a_request_that_cannot_be_served_is_told_why(answerer: Answerer, changed: dict[str, Any], said: str) -> None:
    async def check() -> None:
        async with serve(answerer) as client:
            reply = await ask(client, **changed)
            assert reply.status_code == 400
            assert said in reply.json()["error"]["message"]
            assert reply.json()["error"]["type"] == "invalid_request_error"

    run(check())


def test_half_a_character_is_taken_for_one_that_is_not_known(answerer: Answerer) -> None:
    def body(text: str) -> bytes:
        return (
            b'{"model": "notes", "max_tokens": 12, "messages": [{"role": "user", "content": "Who is %s?"}]}'
            % text.encode()
        )

    async def check() -> None:
        async with serve(answerer) as client:
            half, unknown = [await client.post("chat/completions", content=body(s)) for s in ("\\ud800", "\\ufffd")]
            assert (half.status_code, half.json()["choices"]) == (200, unknown.json()["choices"])
        assert answerer.ask("Who is \udce9?", 12) == unknown.json()["choices"][0]["message"]["content"]

    run(check())


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"model": NaN}', b'{"model": "\\ud800"}', b"9" * 9000]
)
def test_a_body_that_is_no_request_is_refused_as_such(answerer: Answerer, body: bytes) -> None:
    async def check() -> None:
        async with serve(answerer) as client:
            reply = await client.post("chat/completions", content=body)
            assert reply.status_code == 400
            assert reply.json()["error"]["type"] == "invalid_request_error"

    run(check())


def test_what_is_too_long_packed_or_asked_elsewhere_is_refused_in_the_same_form(answerer: Answerer) -> None:
    async def check() -> None:
        async with serve(answerer) as client:
            for status, reply in [
                (413, await client.post("chat/completions", content=b"x" * (LONGEST_BODY + 1))),
                (400, await client.post("chat/completions", content=b"{}", headers={"Content-Encoding": "gzip"})),
                (404, await client.get("files")),
                (405, await client.get("chat/completions")),
            ]:
                assert (reply.status_code, reply.json()["error"]["code"]) == (status, None)

    run(check())


def test_pages_in_a_browser_and_other_names_of_this_machine_are_refused(answerer: Answerer) -> None:
    async def check() -> None:
        async with serve(answerer) as client:
            port = client.base_url.port
            for refused in ({"Origin": "http://localhost:3000"}, {"Origin": "null"}, {"Host": f"evil.example:{port}"}):
                for path in ("models", client.base_url.join("/health")):
                    reply = await client.get(path, headers=refused)
                    assert reply.status_code == 403
                    assert "access-control-allow-origin" not in reply.headers
            for host in (f"localhost:{port}", "LOCALHOST", f"[::1]:{port}", "127.0.0.1"):
                assert (await client.get("models", headers={"Host": host})).status_code == 200

    run(check())


def test_with_a_token_only_those_who_have_it_are_answered(answerer: Answerer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with serve(answerer, loopback=False, token="right") as client:
            for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer rightly"}):
                reply = await client.get("models", headers=given)
                assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
                assert "right" not in reply.text
            async with ChatClient(str(client.base_url), "notes", key_env=TOKEN) as mine:
                assert (await mine.chat(TURNS, max_tokens=1)).completion_tokens == 1
            assert (await health(client)).status_code == 200

    monkeypatch.setenv(TOKEN, "right")
    run(check())


@pytest.mark.parametrize("own", ["", "mine"])
def test_elsewhere_than_on_loopback_a_token_is_made_and_shown_unless_one_is_set(
    own: str, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if own or len(said) == 2:
            raise UserError("enough")

    monkeypatch.setenv(TOKEN, own)
    monkeypatch.setattr(Answerer, "of", lambda _: answerer)
    monkeypatch.setattr(serving, "is_loopback", lambda _: False)
    with pytest.raises(UserError, match="enough"):
        serving.serve("notes", "127.0.0.1", 0, say)
    assert len(said) == (1 if own else 2)
    assert "mine" not in "".join(said)
    assert own or len(said[1].split()[2]) >= 32


def test_only_addresses_that_surely_are_loopback_count_as_such() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "127.0.0.1.nip.io")))


class Held:
    """A model that answers nothing until it is let go."""

    def __init__(self) -> None:
        self.begun, self.free, self.asked = threading.Event(), threading.Event(), 0

    def room(self, turns: Any) -> int:
        return 100

    def answer(self, *_: Any, **__: Any) -> Reply:
        self.asked += 1
        self.begun.set()
        assert self.free.wait(30)
        return Reply("there", "stop")


def test_a_request_that_hangs_holds_up_neither_health_nor_the_word_that_too_many_wait() -> None:
    model = Held()

    async def check() -> None:
        server = Server(InTurn(model), "notes", loopback=True)  # type: ignore[arg-type]
        async with server.at("127.0.0.1", 0) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
            try:
                first = asyncio.create_task(ask(client))
                await asyncio.to_thread(model.begun.wait, 30)
                others = {asyncio.create_task(ask(client)) for _ in range(InTurn.most)}
                over, others = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
                assert [(await reply).status_code for reply in over] == [429]
                others.pop().cancel()
                while server._waiting == InTurn.most:  # until it is noticed, for which health is answered
                    assert (await health(client)).status_code == 200
            finally:
                model.free.set()
            assert {(await reply).status_code for reply in (first, *others)} == {200}

    run(check())
    assert model.asked == InTurn.most - 1, "who left before the turn came was not answered"


def test_of_a_bug_the_answer_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Held):
        def answer(self, *_: Any, **__: Any) -> Reply:
            raise RuntimeError("a secret of the house")

    async def check() -> None:
        async with serve(Broken()) as client:
            reply = await ask(client)
            assert reply.status_code == 500
            assert reply.json()["error"]["type"] == "server_error"
            assert not any(word in reply.text for word in ("secret", "Traceback", ".py"))

    run(check())
    assert "a secret of the house" in caplog.text


def test_a_model_that_does_not_chat_is_asked_as_ask_asks_it(plain_directory: Path) -> None:
    model = Answerer.of(str(plain_directory))

    async def check() -> None:
        async with serve(model) as client:
            reply = (await ask(client, max_tokens=24)).json()["choices"][0]["message"]["content"]
            assert reply == model.ask(QUESTION, 24)

    run(check())
    with pytest.raises(DataError, match="context"):
        model.ask("x" * 4000)


@pytest.mark.slow
def test_the_command_serves_until_it_is_told_to_end_and_says_so_in_one_line(directory: Path) -> None:
    command = [sys.executable, "-m", "seal_ray", "serve", str(directory), "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if name != TOKEN}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr
            line = next(line for line in process.stderr if "serving" in line)
            url = line.split(" at ")[1].split(";")[0]
            assert httpx.get(f"{url}/models").json()["data"][0]["id"] == "notes"
            assert httpx.post(f"{url}/chat/completions", json=BODY, timeout=60).status_code == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert process.stderr.read() == "seal-ray: SIGINT: stopped\n"
        finally:
            process.kill()


def test_a_port_that_is_taken_and_a_name_that_is_taken_are_said_in_one_line(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answerer, "of", lambda _: answerer)

    async def twice() -> None:
        async with serve(answerer) as client:
            port = client.base_url.port
            assert port
            await asyncio.to_thread(serving.serve, "notes", "127.0.0.1", port, print)

    with pytest.raises(UserError, match=r"--host 127.0.0.1 --port \d+: .*in use"):
        run(twice())
    with pytest.raises(UserError, match="--port 99999"):
        serving.serve("notes", "127.0.0.1", 99999, print)
    with pytest.raises(UserError, match="a directory called 'base'"):
        serving.serve("base", "127.0.0.1", 0, print)
