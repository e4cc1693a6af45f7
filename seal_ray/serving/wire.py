"""What goes over the wire to a client of OpenAI's chat completions: requests that are checked, replies, errors."""

from __future__ import annotations

import json
import secrets
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seal_ray.endpoints.openai_client import Reply
from seal_ray.plain import decoded, one_line
from seal_ray.types import Chat, Message

_MOST_TURNS = 1000
_MOST_STOPS = 16

Json = dict[str, Any]


class Refused(Exception):
    """A request that is not served, with what its answer says."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code

    def body(self) -> Json:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": None, "code": self.code or None}}


class _Given(BaseModel):
    """A part of a request: types are those of JSON, and unknown fields are ignored, as other servers do."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data


class _Part(_Given):
    type: Literal["text"]
    text: str


class _Turn(_Given):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    def message(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class _StreamOptions(_Given):
    include_usage: bool = False


_Stop = Annotated[str, Field(min_length=1, max_length=200)]


class Asked(_Given):
    """A request for a reply. What would change the reply and cannot be done is refused, not passed over."""

    model: str
    messages: Annotated[list[_Turn], Field(min_length=1, max_length=_MOST_TURNS)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Left out, the reply is the likeliest: so was all measured that is known of the model."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=_MOST_STOPS)] = []
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()
    n: Literal[1] = 1
    logprobs: Literal[False] = False
    tools: Annotated[list[Any], Field(max_length=0)] = []

    @classmethod
    def read(cls, body: bytes) -> Asked:
        try:
            return cls.model_validate(decoded(body))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the body"
            raise Refused(400, one_line(f"{where}: {first['msg']}")) from None
        except ValueError:
            raise Refused(400, "the body is no JSON") from None

    def turns(self) -> Chat:
        return tuple(turn.message() for turn in self.messages)

    def longest(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def sampling(self) -> Json:
        """How the reply is chosen; without a seed, differently each time."""
        seed = secrets.randbits(63) if self.seed is None else self.seed % (1 << 64)
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        return {"temperature": self.temperature, "top_p": self.top_p, "seed": seed, "stop": stop}


def models(*names: str) -> Json:
    """The list of what is served."""
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "seal_ray"} for name in names]
    return {"object": "list", "data": rows}


def completion(model: str, reply: Reply) -> Json:
    message = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
    return _head("chat.completion", model) | {"choices": [choice], "usage": _usage(reply)}


def events(model: str, reply: Reply, with_usage: bool) -> str:
    """A whole reply as a stream of server-sent events: its text in one piece."""
    head = _head("chat.completion.chunk", model)
    pieces: list[tuple[Json, str | None]] = [
        ({"role": "assistant", "content": reply.text}, None),
        ({}, reply.finish_reason),
    ]
    chunks = [head | {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in pieces]
    if with_usage:
        chunks.append(head | {"choices": [], "usage": _usage(reply)})
    return "".join(f"data: {line}\n\n" for line in [*map(json.dumps, chunks), "[DONE]"])


def _head(kind: str, model: str) -> Json:
    return {"id": f"chatcmpl-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), "model": model}


def _usage(reply: Reply) -> Json:
    total = reply.prompt_tokens + reply.completion_tokens
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": total,
    }
