"""A conversation that remembers its turns, as many as the model's context holds."""

from __future__ import annotations

from typing import Protocol

from seal_ray.endpoints.openai_client import Reply
from seal_ray.types import Chat, Message


class Replies(Protocol):
    """What answers conversations, an `Answerer`."""

    def answer(self, turns: Chat, max_tokens: int, *, learnt: bool) -> Reply: ...

    def room(self, turns: Chat) -> int: ...


class Conversation:
    def __init__(self, model: Replies, max_tokens: int, learnt: bool = True) -> None:
        self._model, self._max_tokens, self._learnt = model, max_tokens, learnt
        self._turns: tuple[Message, ...] = ()

    def say(self, text: str) -> str:
        """The reply to what is said next, which is forgotten where that is nothing. `DataError` if it is too long."""
        turns = (*self._turns, Message("user", text))
        while len(turns) > 1 and self._model.room(turns) < self._max_tokens:
            turns = turns[2:]  # what was said first, and the reply to it
        reply = self._model.answer(turns, self._max_tokens, learnt=self._learnt).text
        if reply:
            self._turns = (*turns, Message("assistant", reply))
        return reply

    def forget(self) -> None:
        """Start anew."""
        self._turns = ()
