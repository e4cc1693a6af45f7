"""What a model is given and what it writes, sampled or greedily."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from seal_ray.types.content import content_key
from seal_ray.types.policies import BASE, AdapterRef


@dataclass(frozen=True)
class Message:
    """One turn of a chat, rendered by the worker with the model's own template."""

    role: Literal["system", "user", "assistant"]
    content: str


Chat = tuple[Message, ...]
Prompt = str | Chat
Ask = Callable[[Sequence[Prompt], int], Awaitable[Sequence[str]]]
"""Replies of a model to prompts, in order, greedily decoded, each of at most a number of tokens."""


def is_prompt(given: object) -> bool:
    """Whether it is a text, or turns of a chat."""
    return isinstance(given, str) or (isinstance(given, tuple) and all(isinstance(turn, Message) for turn in given))


def last_turn(prompt: Prompt) -> str:
    """The text of a chat's last turn, which asks; of a prompt that is no chat, all of it."""
    return prompt if isinstance(prompt, str) else prompt[-1].content


def plain_text(prompt: Prompt) -> str:
    """The text of all turns, without what a chat template adds."""
    return prompt if isinstance(prompt, str) else "\n".join(turn.content for turn in prompt)


@dataclass(frozen=True)
class SampleRequest:
    """A request for one completion of a policy. Its text depends on what is written here and on nothing else."""

    base: AdapterRef
    """The policy's adapter."""
    prompt: Prompt
    seed: int
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    stop: tuple[str, ...] = ()
    schema: dict[str, Any] | None = field(default=None, hash=False)
    """A JSON schema the completion must satisfy, where the engine can enforce one."""

    @property
    def key(self) -> str:
        return content_key("sample", self)

    @classmethod
    def greedy(cls, prompt: Prompt, max_tokens: int) -> Self:
        """A request for the untouched base's likeliest reply."""
        return cls(BASE, prompt, seed=0, temperature=0.0, max_tokens=max_tokens)


@dataclass(frozen=True, slots=True)
class Completion:
    text: str
    tokens: int
    finished: bool
    refused: str = ""
    """Why this request cannot be served at all, when it cannot."""
    worker: str = ""
