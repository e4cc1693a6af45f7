"""Turns the domains' words into a model's tokens: prompts, chats and training texts, by the model's own tokenizer."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Any

from seal_ray.types import Chat, DataError, Example, Message, Prompt

_MARK = "(reply)"
_LETTERS = "\ufdd0"
"""Stands in what a message spells like a control token; Unicode keeps it for use inside programs, so no text has it."""

TODAY = date(2024, 7, 26)
"""The date for a chat template that writes one. Some write it into every prompt (Llama-3.2's does), and a run
must not depend on the day. Never changed: it is Llama's own date for when there is none."""


def render_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt that is to be continued."""
    if isinstance(prompt, str):
        return list(tokenizer(prompt).input_ids)
    return _chat_ids(tokenizer, _chat_text(tokenizer, prompt, add_generation_prompt=True))


def opened(tokenizer: Any, text: str) -> int:
    """How many tokens of its own a tokenizer puts before a bare text."""
    whole, bare = list(tokenizer(text).input_ids), list(tokenizer(text, add_special_tokens=False).input_ids)
    places = range(len(whole) - len(bare) + 1)
    return next((at for at in places if whole[at : at + len(bare)] == bare), 0)


def render_opening(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt that a text follows: without what a tokenizer puts at the end of every text."""
    if not isinstance(prompt, str):
        return render_prompt(tokenizer, prompt)
    bare = tokenizer(prompt, add_special_tokens=False).input_ids
    return render_prompt(tokenizer, prompt)[: opened(tokenizer, prompt) + len(bare)]


def render_example(tokenizer: Any, example: Example) -> tuple[list[int], list[int]]:
    """A training text as (prompt ids, completion ids).

    A whole completion after a prompt ends with the end-of-text token, so that the model learns to stop; in a chat the
    model's own template says how a turn ends, and what it adds after the prompt is what carries loss. One that is not
    whole is its own words alone.
    """
    if isinstance(example.prompt, tuple):
        return _render_reply(tokenizer, example.prompt, example)
    if not example.prompt:
        return [], list(tokenizer(example.completion).input_ids)
    reply = tokenizer(example.completion, add_special_tokens=False).input_ids
    end = [tokenizer.eos_token_id] if example.whole and tokenizer.eos_token_id is not None else []
    return render_prompt(tokenizer, example.prompt), [*reply, *end]


def _render_reply(tokenizer: Any, chat: Chat, example: Example) -> tuple[list[int], list[int]]:
    """The turns before a reply, and the reply as the model's template writes it."""
    before = _chat_text(tokenizer, chat, add_generation_prompt=True)
    text = _chat_text(tokenizer, (*chat, Message("assistant", example.completion)))
    if not example.whole:
        # What the template puts around any reply is found around a mark.
        before, _, after = _chat_text(tokenizer, (*chat, Message("assistant", _MARK))).partition(_MARK)
        if not text.endswith(after):
            raise DataError("the model's chat template ends turns in more than one way, so the reply's end is unknown")
        text = text[: len(text) - len(after)]
    prompt, whole = _chat_ids(tokenizer, before), _chat_ids(tokenizer, text)
    if whole[: len(prompt)] != prompt:
        raise DataError("the model's chat template rewrites earlier turns, so the span of the reply is unknown")
    return prompt, whole[len(prompt) :]


def _chat_text(tokenizer: Any, messages: Chat, add_generation_prompt: bool = False) -> str:
    if not tokenizer.chat_template:
        raise DataError("the prompt is a chat, and this model's tokenizer has no chat template")
    turns = [{"role": message.role, "content": _spelled(tokenizer, message.content)} for message in messages]
    text: str = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=add_generation_prompt, strftime_now=TODAY.strftime
    )
    return text


def _spelled(tokenizer: Any, content: str) -> str:
    """A message in which control tokens are letters: spelled in a document or an answer, they would end its turn."""
    content = content.replace(_LETTERS, "")
    for token in _controls(tokenizer):
        content = content.replace(token, f"{token[0]}{_LETTERS}{token[1:]}")
    return content


def _chat_ids(tokenizer: Any, text: str) -> list[int]:
    if _LETTERS not in text:
        return list(tokenizer(text, add_special_tokens=False).input_ids)
    ids: list[int] = []
    # The template's own control tokens come at every second place.
    controls = "|".join(map(re.escape, _controls(tokenizer)))
    for place, part in enumerate(re.split(f"({controls})(?!{_LETTERS})", text)):
        if place % 2:
            ids.append(tokenizer.convert_tokens_to_ids(part))
        elif said := part.replace(_LETTERS, ""):
            ids += tokenizer(said, add_special_tokens=False, split_special_tokens=True).input_ids
    return ids


@lru_cache(maxsize=8)
def _controls(tokenizer: Any) -> tuple[str, ...]:
    """The texts of a tokenizer's control tokens, the longest first."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple(sorted({token.content for token in added if token.special and token.content}, key=len, reverse=True))
