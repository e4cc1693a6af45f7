from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from seal_ray.endpoints.openai_client import ChatClient
from seal_ray.types import BASE, Completion, DataError, Message, SampleRequest, UserError
from seal_ray.workers.engines.endpoint import EndpointEngine
from tests.servers import ScriptedServer, ok, serving

KEY = "sk-a-key-nobody-may-see"
TEXT = ok({"choices": [{"text": " sings .", "finish_reason": "stop"}], "usage": {"completion_tokens": 2}})
TURN = ok({"choices": [{"message": {"content": "It sings ."}, "finish_reason": "length"}]})
NO_PATH = 404, {}, '{"error": "This is a chat model"}'


def sample(server: ScriptedServer, *requests: SampleRequest, key_env: str = "") -> list[Completion]:
    async def main() -> list[Completion]:
        engine = EndpointEngine(ChatClient(server.url, "m", key_env, backoff=0.001))
        await engine.hold()
        try:
            return [await engine.sample(request) for request in requests]
        finally:
            await engine.close()

    return asyncio.run(main())


def test_a_text_is_continued_with_all_that_the_request_says() -> None:
    with serving(TEXT) as server:
        request = SampleRequest(BASE, "The heron", 2**31 + 7, 0.7, 0.9, 20, ("\n\n",), {"type": "object"})
        assert sample(server, request) == [Completion(" sings .", 2, True)]
    path, body, _ = server.seen[0]
    assert path == "/v1/completions"
    assert body == {
        "model": "m",
        "prompt": "The heron",
        "seed": 7,
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 20,
        "stop": ["\n\n"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "self_edit", "schema": {"type": "object"}},
        },
    }


def test_a_chat_is_asked_as_a_chat() -> None:
    with serving(TURN) as server:
        chat = (Message("system", "Be brief."), Message("user", "What does the heron do?"))
        assert sample(server, SampleRequest(BASE, chat, 3)) == [Completion("It sings .", 0, False)]
    assert server.seen[0][0] == "/v1/chat/completions"
    assert [turn["role"] for turn in server.seen[0][1]["messages"]] == ["system", "user"]


def test_a_server_that_only_chats_gets_a_text_as_a_users_turn_and_is_not_tried_again() -> None:
    with serving(NO_PATH, TURN) as server:
        sample(server, SampleRequest(BASE, "The heron", 3), SampleRequest(BASE, "The crow", 4))
    assert [path for path, _, _ in server.seen] == ["/v1/completions", "/v1/chat/completions", "/v1/chat/completions"]
    assert server.seen[2][1]["messages"] == [{"role": "user", "content": "The crow"}]


def test_a_model_the_server_does_not_have_stops_the_run() -> None:
    with serving(NO_PATH) as server, pytest.raises(UserError, match="model 'm'"):
        sample(server, SampleRequest(BASE, "The heron", 3))


def test_a_prompt_the_server_refuses_is_a_data_failure() -> None:
    with serving((400, {}, "maximum context length is 2048")) as server, pytest.raises(DataError, match="2048"):
        sample(server, SampleRequest(BASE, "The heron", 3))


def test_the_key_comes_from_the_environment_and_is_in_no_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WRITER_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with serving((503, {}, KEY), TEXT) as server:
        completions: list[Any] = sample(server, SampleRequest(BASE, "The heron", 3), key_env="WRITER_KEY")
    assert [key for _, _, key in server.seen] == [f"Bearer {KEY}"] * 2
    assert KEY not in caplog.text + repr(completions)
    assert "127.0.0.1" in caplog.text


def test_a_policy_check_is_refused_where_there_is_no_policy() -> None:
    with pytest.raises(UserError, match="no log-probabilities"):
        asyncio.run(EndpointEngine(ChatClient("http://127.0.0.1:1/v1", "m")).log_probs([1, 2], BASE))
