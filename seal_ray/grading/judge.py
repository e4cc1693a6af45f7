"""Verdicts of a judge model: over an OpenAI-compatible endpoint, or through a sampler of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from seal_ray.endpoints import patience
from seal_ray.endpoints.openai_client import ChatClient
from seal_ray.grading.base import Item
from seal_ray.grading.cache import VerdictCache
from seal_ray.grading.judging import MAX_REPLY_TOKENS, heard, judge_text
from seal_ray.model.template import ByTemplate
from seal_ray.sources import Practical, WrittenPath
from seal_ray.types import Ask, Bounds, Message, Prompt, UserError, content_key


class Judge:
    """Queries a model behind an OpenAI-compatible endpoint; requests run at once, up to a bound, and are retried.

    Equal answers are judged once, also across runs when a cache file is given. An empty answer is a no
    without one. An endpoint that is away is waited for; when it stays away, or will not judge some answer, the error
    is raised once every other verdict is in the cache.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options:
        base_url: str
        """Up to and with `/v1`."""
        model: str
        key_env: Practical[str] = ""
        """Environment variable that holds the key; empty for a server that needs none."""
        concurrency: Practical[Annotated[int, Bounds(ge=1)]] = 16
        timeout: Practical[Annotated[float, Bounds(gt=0)]] = 60.0
        retries: Practical[Annotated[int, Bounds(ge=0)]] = 6
        backoff: Practical[Annotated[float, Bounds(gt=0)]] = 1.0
        """Seconds before the first retry; doubled each time, with jitter."""
        patience: Practical[Annotated[float, Bounds(ge=0)]] = patience.SECONDS
        """Seconds that the endpoint may be away before the run ends; the same command continues it."""
        cache: WrittenPath = ""
        """A JSONL file of verdicts, kept across runs."""
        params: dict[str, Any] = field(default_factory=lambda: {"temperature": 0, "max_tokens": MAX_REPLY_TOKENS})
        """What else goes into each request."""
        prompt_price: Practical[Annotated[float, Bounds(ge=0)]] = 0.0
        """Price of a million prompt tokens, for the cost that is reported."""
        completion_price: Practical[Annotated[float, Bounds(ge=0)]] = 0.0

    def __init__(self, options: Options) -> None:
        self._options = options
        self._client = ChatClient(
            options.base_url,
            options.model,
            options.key_env,
            options.concurrency,
            options.timeout,
            options.retries,
            options.backoff,
        )
        self._patience = patience.Patience(options.patience, "grading.options.patience")
        self._cache = VerdictCache(options.cache)
        self._asked: dict[str, asyncio.Future[bool]] = {}
        self.from_cache = 0
        """Verdicts that needed no request of their own."""

    async def grade(self, items: Sequence[Item]) -> list[float]:
        verdicts = await asyncio.gather(*(self._verdict(item) for item in items), return_exceptions=True)
        for said in verdicts:
            if isinstance(said, BaseException):
                raise said
        return [float(said) for said in verdicts if not isinstance(said, BaseException)]

    def cost(self) -> dict[str, float]:
        """What the judge has used so far; `cost` is in the currency of the prices."""
        usage, options = self._client.usage, self._options
        price = usage.prompt_tokens * options.prompt_price + usage.completion_tokens * options.completion_price
        return {**vars(usage), "from_cache": self.from_cache, "cost": price / 1e6}

    async def close(self) -> None:
        await self._client.close()

    async def _verdict(self, item: Item) -> bool:
        if not item.answer.strip():
            return False
        text = judge_text(item)
        key = content_key("verdict", self._options.model, self._options.params, text)
        known = self._cache.get(key)
        if known is not None:
            self.from_cache += 1
            return known
        if key in self._asked:
            self.from_cache += 1
        else:
            self._asked[key] = asyncio.ensure_future(self._ask(key, text))
            self._asked[key].add_done_callback(lambda _: self._asked.pop(key))
        # Shielded: an equal answer of another trial may be waiting for the same verdict.
        return await asyncio.shield(self._asked[key])

    async def _ask(self, key: str, text: str) -> bool:
        turns = [Message("user", text)]
        reply = await self._patience.until_answered(lambda: self._client.chat(turns, **self._options.params))
        said = heard(reply.text, reply.finish_reason == "length")
        self._cache.put(key, said)
        return said


class LocalJudge:
    """Puts the judge's prompt to the run's own base model, through its samplers."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
        chat: ByTemplate = "auto"
        """False for a base model, which continues plain text; `auto`: if the model is an instruct model."""

    def __init__(self, options: Options | None = None, ask: Ask | None = None) -> None:
        self._chat = (options or self.Options()).chat is not False  # what is still to be settled chats
        self._ask = ask
        self._known: dict[Prompt, float] = {}

    def connect(self, ask: Ask) -> None:
        """Set what it queries; a run gives it its samplers once they are there."""
        self._ask = ask

    async def grade(self, items: Sequence[Item]) -> list[float]:
        if self._ask is None:
            raise UserError('the grader "local judge" queries a run\'s samplers; outside of one, choose another')
        prompts = [self._prompt(item) for item in items if item.answer.strip()]
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        for prompt, reply in zip(new, await self._ask(new, MAX_REPLY_TOKENS) if new else (), strict=True):
            self._known[prompt] = float(heard(reply if self._chat else reply.strip().partition("\n")[0]))
        return [self._known[self._prompt(item)] if item.answer.strip() else 0.0 for item in items]

    def _prompt(self, item: Item) -> Prompt:
        text = judge_text(item)
        return (Message("user", text),) if self._chat else f"{text}\nReply:"
