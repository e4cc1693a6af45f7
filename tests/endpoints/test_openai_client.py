import asyncio
import gzip
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import pytest

from seal_ray.endpoints.openai_client import LONGEST_BODY, ChatClient, Reply, _retry_after
from seal_ray.endpoints.patience import EndpointError
from seal_ray.types import DataError, Message, UserError
from tests.servers import Answer, ScriptedServer, ok, serving

KEY = "sk-a-key-nobody-may-see"
GOOD = {
    "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setenv("TEST_KEY", KEY)
    with serving(ok(GOOD)) as made:
        yield made


def use(server: ScriptedServer, work: Callable[[ChatClient], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    async def main() -> Any:
        async with ChatClient(server.url, "m", **{"key_env": "TEST_KEY", "backoff": 0.001, **options}) as client:
            return await work(client), client.usage

    return asyncio.run(main())


def hello(client: ChatClient) -> Coroutine[Any, Any, Reply]:
    return client.chat([Message("user", "hi")], temperature=0.5)


def test_a_chat_carries_the_key_and_its_parameters(server: ScriptedServer) -> None:
    reply, usage = use(server, hello)
    assert reply == Reply("hello", "stop", 3, 1)
    assert (usage.requests, usage.retries, usage.prompt_tokens, usage.completion_tokens) == (1, 0, 3, 1)
    assert server.seen == [
        (
            "/v1/chat/completions",
            {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5},
            f"Bearer {KEY}",
        )
    ]


def test_a_plain_text_is_continued(server: ScriptedServer) -> None:
    server.script = [ok({"choices": [{"text": " there", "finish_reason": "length"}]})]
    reply, _ = use(server, lambda client: client.complete("hello", max_tokens=1))
    assert reply == Reply(" there", "length")
    assert server.seen[0][:2] == ("/v1/completions", {"model": "m", "prompt": "hello", "max_tokens": 1})


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {"retry-after": "0.02"}, ""),
        (500, {}, ""),
        (503, {}, "busy"),
        (200, {}, "{not json"),
        (200, {}, "[]"),
        (200, {}, '{"choices": []}'),
        ok({"choices": [{"message": {"content": None}}]}),
        (200, {}, b"\xff\xfe no UTF-8"),
        (200, {"content-encoding": "gzip"}, "not compressed"),
        (200, {"content-encoding": "gzip"}, gzip.compress(b" " * 100_000_000 + json.dumps(GOOD).encode())),
        (200, {}, '{"choices": ' + "[" * 100_000),
        (200, {}, '{"choices": [' + "9" * 10_000 + "]}"),
        (200, {}, " " * LONGEST_BODY + json.dumps(GOOD)),
    ],
)
def test_passing_trouble_is_retried(server: ScriptedServer, trouble: Answer) -> None:
    server.script = [trouble, trouble, ok(GOOD)]
    reply, usage = use(server, hello)
    assert reply.text == "hello"
    assert (usage.requests, usage.retries) == (3, 2)


def test_lasting_trouble_ends_after_a_bounded_number_of_tries(server: ScriptedServer) -> None:
    server.script = [(503, {}, KEY)]
    with pytest.raises(EndpointError, match="HTTP 503, in all 3 tries") as caught:
        use(server, hello, retries=2)
    assert len(server.seen) == 4, "and one small request, to see whether the server answers anything"
    assert KEY not in str(caught.value)


def test_a_request_on_which_the_server_fails_while_it_answers_others_is_a_failure_of_that_request(
    server: ScriptedServer,
) -> None:
    server.script = [(500, {}, ""), (500, {}, ""), ok(GOOD), (500, {}, "")]
    with pytest.raises(DataError, match="HTTP 500, in all 3 tries, while another request was answered"):
        use(server, hello, retries=1)


def test_a_request_is_not_to_blame_for_a_server_that_was_away_and_is_back_when_it_is_asked_for_another(
    server: ScriptedServer,
) -> None:
    server.script = [(503, {}, ""), (503, {}, ""), ok(GOOD), ok(GOOD)]
    reply, usage = use(server, hello, retries=1)
    assert (reply.text, usage.requests, usage.retries) == ("hello", 3, 2)


def test_a_reply_that_trickles_in_for_ever_ends_with_the_deadline(server: ScriptedServer) -> None:
    server.script = [(200, {"content-length": "100000"}, " "), ok(GOOD)]
    reply, usage = use(server, hello, timeout=0.2)
    assert (reply.text, usage.retries) == ("hello", 1)


def test_what_a_server_says_is_shown_without_what_a_terminal_would_obey(server: ScriptedServer) -> None:
    server.script = [(400, {"content-type": "text/plain; charset=no-such"}, "\x1b]0;title\x07 \u202eevil\x00\nline")]
    with pytest.raises(DataError, match=r"refused \(HTTP 400\): ]0;title evil line$"):
        use(server, hello)


def test_half_a_character_becomes_one_that_can_be_kept_and_odd_token_counts_count_as_none(
    server: ScriptedServer,
) -> None:
    usage = '"usage": {"prompt_tokens": 1e999, "completion_tokens": ' + "9" * 40 + "}"
    server.script = [(200, {}, '{"choices": [{"text": "a \\ud800 b \\ud83d\\ude00"}], ' + usage + "}")]
    reply, _ = use(server, hello)
    assert reply == Reply("a \ufffd b \U0001f600", "stop", 0, 0)


def test_a_server_that_is_not_there_is_an_infrastructure_failure(server: ScriptedServer) -> None:
    port = server.http.server_port
    server.http.server_close()
    server.url = f"http://127.0.0.1:{port}/v1"
    with pytest.raises(EndpointError, match="no answer"):
        use(server, hello, retries=1)


@pytest.mark.parametrize(
    ("status", "kind", "words"), [(401, UserError, "TEST_KEY"), (404, UserError, "/v1"), (400, DataError, "too long")]
)
def test_a_refusal_is_not_retried_and_never_shows_the_key(
    server: ScriptedServer, status: int, kind: type[Exception], words: str
) -> None:
    server.script = [(status, {}, f"too long, said {KEY}")]
    with pytest.raises(kind, match=words) as caught:
        use(server, hello)
    assert KEY not in str(caught.value)
    assert len(server.seen) == 1


class Counting(httpx.AsyncHTTPTransport):
    """Sends for real, and remembers how many requests were under way at once."""

    busy = most_busy = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            return await super().handle_async_request(request)
        finally:
            self.busy -= 1


def test_no_more_requests_run_at_once_than_asked_for(server: ScriptedServer) -> None:
    transport = Counting()

    async def many(client: ChatClient) -> list[Reply]:
        return await asyncio.gather(*(hello(client) for _ in range(20)))

    replies, _ = use(server, many, concurrency=2, transport=transport)
    assert len(replies) == 20
    assert transport.most_busy == 2


def test_a_key_that_is_not_set_is_said_before_anything_is_asked() -> None:
    with pytest.raises(UserError, match="NO_SUCH_KEY is not set"):
        ChatClient("http://127.0.0.1:1/v1", "m", "NO_SUCH_KEY")


@pytest.mark.parametrize(
    "url", [f"http://me:{KEY}@127.0.0.1/v1", f"http://127.0.0.1/v1?key={KEY}", "127.0.0.1/v1", "ftp://127.0.0.1"]
)
def test_a_base_url_that_is_none_or_hides_a_secret_is_refused(url: str) -> None:
    with pytest.raises(UserError) as caught:
        ChatClient(url, "m")
    assert KEY not in str(caught.value)


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert _retry_after("2.5") == 2.5
    assert _retry_after("Fri, 01 Jan 2100 00:00:00 GMT") > 1e6
    assert _retry_after("Fri, 01 Jan 1999 00:00:00 GMT") == 0.0
    assert _retry_after("soon") == 0.0
    for odd in ("nan", "-5", "9" * 400, "\x00", "Fri, 99 Foo 99999 99:99:99 +9999", "()()", "1 2"):
        assert _retry_after(odd) >= 0.0
