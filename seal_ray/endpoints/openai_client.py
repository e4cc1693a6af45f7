"""A patient client for OpenAI-compatible servers: bounded concurrency, bounded retries, a key that is never shown."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx

from seal_ray.endpoints.patience import EndpointError
from seal_ray.plain import decoded, kept, one_line
from seal_ray.types import DataError, Message, UserError, derive_seed

RETRIED = {408, 409, 425, 429, 500, 502, 503, 504}
REFUSED = {400, 413, 422}
"""The server read the request and will not serve it: the request's own fault, so asking again is no use."""
LONGEST_WAIT = 60.0
LONGEST_BODY = 8 << 20
"""Bytes of a reply; a completion of the longest kind takes a fiftieth of that."""


class NoSuchPath(UserError):
    """The server answered 404: it has no such way to ask, or no such model."""


@dataclass(frozen=True)
class Reply:
    text: str
    finish_reason: str
    """`stop` when the model ended by itself, `length` when it was cut off."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class Usage:
    """What the client has used since it was made."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatClient:
    """Queries one model behind one base URL, such as `http://127.0.0.1:8000/v1`.

    `key_env` names the environment variable that holds the key; empty for a server that asks for none.
    A try ends after `timeout` seconds, whatever has come by then. Raises `UserError` for a missing or refused key or
    an unknown model, `DataError` for a request that the server refuses as such or fails on while it answers another,
    and `EndpointError` when it answers nothing at all.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        key_env: str = "",
        concurrency: int = 16,
        timeout: float = 120.0,
        retries: int = 5,
        backoff: float = 1.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = _checked(base_url)
        self.model = model
        self.usage = Usage()
        self._key_env = key_env
        self._key = _key(key_env)
        self._timeout = timeout
        self._retries = retries
        self._backoff = backoff
        self._slots = asyncio.Semaphore(concurrency)
        # Compressed replies are not asked for: a small one could fill the memory.
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        self._http = httpx.AsyncClient(headers=headers, timeout=timeout, transport=transport)

    async def chat(self, messages: Sequence[Message], **params: Any) -> Reply:
        """The next turn of a chat; `params` go into the request as they are (`temperature`, `max_tokens`, …)."""
        turns = [{"role": message.role, "content": message.content} for message in messages]
        return await self._ask("chat/completions", {"messages": turns, **params})

    async def complete(self, prompt: str, **params: Any) -> Reply:
        """The continuation of a plain text."""
        return await self._ask("completions", {"prompt": prompt, **params})

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, path: str, body: dict[str, Any]) -> Reply:
        payload = {"model": self.model, **body}
        jitter = random.Random(derive_seed(payload))
        for attempt in range(self._retries + 1):
            reply, problem, asked_wait = await self._counted_try(path, payload, again=attempt > 0)
            if reply is not None:
                return reply
            if attempt < self._retries:
                wait = self._backoff * 2**attempt * (0.5 + jitter.random())
                await asyncio.sleep(min(max(wait, asked_wait), LONGEST_WAIT))
        if not await self._answers_another(path):
            raise EndpointError(f"{self.base_url}: {problem}, in all {self._retries + 1} tries")
        # It may have been away and come back only now; the request is to blame for what it fails on while it is there.
        reply, problem, _ = await self._counted_try(path, payload, again=True)
        if reply is None:
            tries = self._retries + 2
            raise DataError(f"{self.base_url}: {problem}, in all {tries} tries, while another request was answered")
        return reply

    async def _counted_try(self, path: str, payload: dict[str, Any], again: bool) -> tuple[Reply | None, str, float]:
        """One try, once there is a slot for it, counted in `usage`."""
        async with self._slots:
            self.usage.requests += 1
            self.usage.retries += again
            found = await self._try(path, payload)
        if reply := found[0]:
            self.usage.prompt_tokens += reply.prompt_tokens
            self.usage.completion_tokens += reply.completion_tokens
        return found

    async def _answers_another(self, path: str) -> bool:
        """Whether the server answers the smallest request there is: then what it fails on is to blame for that."""
        asked = {"messages": [{"role": "user", "content": "Hi"}]} if path.startswith("chat") else {"prompt": "Hi"}
        async with self._slots:
            reply, _, _ = await self._try(path, {"model": self.model, "max_tokens": 1, **asked})
        return reply is not None

    async def _try(self, path: str, payload: dict[str, Any]) -> tuple[Reply | None, str, float]:
        """One request: the reply, or what went wrong with how long the server asks to wait."""
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._http.stream("POST", f"{self.base_url}/{path}", json=payload) as response,
            ):
                body = await _body(response)
        except TimeoutError:
            return None, f"no answer within {self._timeout:g} s", 0.0
        except httpx.RequestError as error:
            return None, f"no answer ({type(error).__name__})", 0.0
        status = response.status_code
        if status in RETRIED or status >= 500:
            return None, f"HTTP {status}", _retry_after(response.headers.get("retry-after", ""))
        if body is None:
            return None, f"a reply of more than {LONGEST_BODY >> 20} MB", 0.0
        if status in (401, 403):
            hint = f"check the key in {self._key_env}" if self._key_env else "name the variable that holds its key"
            raise UserError(f"{self.base_url}: access refused (HTTP {status}); {hint}")
        if status in REFUSED:
            raise DataError(f"{self.base_url}: request refused (HTTP {status}): {self._shown(body)}")
        if not response.is_success:
            kind = NoSuchPath if status == 404 else UserError
            raise kind(
                f"{self.base_url}: HTTP {status} for model {self.model!r}: {self._shown(body)}; "
                "check the base URL (it usually ends in /v1) and the model's name"
            )
        reply = read_reply(body)
        return reply, "" if reply else "a reply that is no completion", 0.0

    def _shown(self, body: bytes) -> str:
        """The start of a server's message on one line; some servers echo the key they were given."""
        text = body.decode("utf-8", "replace")
        return one_line(text.replace(self._key, "***") if self._key else text, 200)


async def _body(response: httpx.Response) -> bytes | None:
    """The body of a response as it was sent; None where it is longer than any reply need be."""
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > LONGEST_BODY:
            return None
    return bytes(body)


def read_reply(body: bytes) -> Reply | None:
    """A server's reply, whatever it sent; None where it holds no completion."""
    try:
        return _parsed(decoded(body))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def _parsed(body: Any) -> Reply:
    choice = body["choices"][0]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    if not isinstance(text, str):
        raise TypeError("the reply holds no text")
    usage = body.get("usage") or {}
    reason = one_line(str(choice.get("finish_reason") or "stop"), 40)
    return Reply(kept(text), reason, _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def _count(value: Any) -> int:
    """A number of tokens as the server tells it, or 0 where that cannot be one."""
    return value if type(value) is int and 0 <= value < 1 << 31 else 0


def _checked(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise UserError(f"base URL {base_url!r} is not a URL ({error})") from None
    if url.userinfo or url.query:
        raise UserError("a base URL holds neither a password nor a query; name an environment variable for the key")
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"base URL {base_url!r} is not an http(s) address; give one such as http://127.0.0.1:8000/v1")
    return base_url.rstrip("/")


def _key(key_env: str) -> str:
    key = os.environ.get(key_env, "").strip() if key_env else ""
    if key_env and not key:
        raise UserError(f"environment variable {key_env} is not set; put the endpoint's key there")
    return key


def _retry_after(value: str) -> float:
    """Seconds asked for by a Retry-After header, which may also be a date; 0 when it says nothing usable."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
