"""Answers of a base and of what was learnt on top of it; both are loaded once, and either may be asked.

    model = Answerer.of("learnt/notes")
    model.ask("Who lit the lanterns?")
    model.ask("Who lit the lanterns?", learnt=False)

It answers through a bank, as trials do, so what was measured of an adapter holds for what it says here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from jinja2 import TemplateError

from seal_ray.adapters.lora import CONFIG_FILE, Adapter
from seal_ray.domains.knowledge.studied import as_asked
from seal_ray.endpoints.openai_client import Reply
from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.plain import first_line, kept
from seal_ray.policy.lineage import MAIN, adapter_of, lineage
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import recorded_config, refuse_another_base
from seal_ray.rundir.tuned import config_of_run
from seal_ray.types import BASE, Chat, DataError, Message, Prompt, UserError
from seal_ray.workers.engines.text import render_prompt

if TYPE_CHECKING:
    from seal_ray.bank import Bank

ADAPTER = "adapter"
"""The folder of a directory in which the adapter lies that it is about."""


@dataclass(frozen=True)
class Known:
    """The adapter of a directory (of documents, or a run's last policy) and the base that it belongs to."""

    spec: ModelSpec
    tokenizer: Any
    adapter: Adapter
    chats: bool
    """Whether the model is shown whole conversations; another is shown only what was said last."""

    @classmethod
    def of(cls, directory: str) -> Self:
        adapter, config = _adapter_in(directory), recorded_config(directory)
        refuse_another_base(directory)
        spec = ModelSpec.of(config.model)
        tokenizer = load_tokenizer(spec)
        chats = bool(tokenizer.chat_template) and config.domain.options.get("chat") is not False
        return cls(spec, tokenizer, adapter, chats)


class Shown:
    """Conversations as a model with so long a context is shown them."""

    def __init__(self, tokenizer: Any, chats: bool, context: int) -> None:
        self.chats, self.stop = chats, () if chats else ("\n",)
        self._tokenizer, self._context = tokenizer, context

    def prompt(self, turns: Chat) -> Prompt:
        """Turns for a model that chats; another is shown what was said last, and where to answer."""
        if not self.chats:
            return as_asked(kept(turns[-1].content), chat=False)
        return tuple(replace(turn, content=kept(turn.content)) for turn in turns)

    def rendered(self, turns: Chat) -> tuple[tuple[int, ...], int]:
        """Its tokens and the room that is left for a reply; `DataError` where there is none."""
        tokens = self._tokens(turns)
        if (room := self._context - len(tokens)) < 1:
            raise DataError(f"the conversation has {len(tokens)} tokens and the model's context {self._context}")
        return tokens, room

    def room(self, turns: Chat) -> int:
        """How many tokens the context has left for a reply; less than one where it has none."""
        return self._context - len(self._tokens(turns))

    def _tokens(self, turns: Chat) -> tuple[int, ...]:
        try:
            return tuple(render_prompt(self._tokenizer, self.prompt(turns)))
        except TemplateError as error:
            raise DataError(f"the model's chat template refuses the conversation: {first_line(error)}") from None


class Left(Exception):
    """Nobody waits for the reply any more."""


class Answerer:
    """A model that can be asked, with what it learnt and without."""

    def __init__(self, bank: Bank, tokenizer: Any, adapter: Adapter, chats: bool, directory: str = "") -> None:
        self.directory = directory
        """Where what it knows lies."""
        self._bank, self._adapter = bank, adapter
        self._shown = Shown(tokenizer, chats, bank.positions)
        self._one_at_a_time = threading.Lock()
        bank.load_missing({adapter.ref.key: adapter})

    @classmethod
    def of(cls, directory: str) -> Self:
        """What a directory holds."""
        from seal_ray.bank import Bank

        known = Known.of(directory)
        bank = Bank(load_model(known.spec), known.tokenizer, slots=1)
        return cls(bank, known.tokenizer, known.adapter, known.chats, directory)

    @property
    def chats(self) -> bool:
        """Whether it is shown whole conversations; another is shown only what was said last."""
        return self._shown.chats

    def ask(self, question: str, max_tokens: int = 128, learnt: bool = True) -> str:
        """The likeliest answer to one question."""
        return self.answer((Message("user", question),), max_tokens, learnt=learnt).text

    def answer(
        self,
        turns: Chat,
        max_tokens: int = 128,
        *,
        learnt: bool = True,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: tuple[str, ...] = (),
        left: Callable[[], bool] = lambda: False,
    ) -> Reply:
        """The reply to a conversation; the likeliest at temperature 0. `DataError` where it has no room for one.

        It is asked before each token whether whoever wants the reply has `left`.
        """
        from seal_ray.bank import SampleSpec

        with self._one_at_a_time:
            prompt, room = self._shown.rendered(turns)
            base = self._adapter.ref if learnt else BASE
            ends = (*stop, *self._shown.stop)
            spec = SampleSpec(prompt, seed, temperature, top_p, min(max_tokens, room), ends, base.key)
            sampling, over = self._bank.sampling(1), list[Any]()
            sampling.add("", spec)
            while not over:
                if left():
                    raise Left
                over = sampling.step()
        ((_, found),) = over
        ended = "stop" if found.finished else "length"
        return Reply(kept(found.text).strip(), ended, len(prompt), len(found.ids))

    def room(self, turns: Chat) -> int:
        """How many tokens the context has left for a reply to a conversation."""
        with self._one_at_a_time:
            return self._shown.room(turns)


def _adapter_in(directory: str) -> Adapter:
    folder = Path(directory) / ADAPTER
    if (folder / CONFIG_FILE).is_file():
        return Adapter.load(folder)
    store = Store(directory)
    rows = lineage(Journal(store)).get(MAIN)
    if not rows:
        config_of_run(directory)
        raise UserError(f"{directory}: nothing was learnt here yet")
    return adapter_of(store, rows[-1])
