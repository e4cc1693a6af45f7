"""From the domains' words to a model's tokens: prompts, chats and training texts, by the model's own tokenizer."""

from __future__ import annotations

from typing import Any

from seal_ray.types import DataError, Example, Message, Prompt


def render_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt that is to be continued."""
    if isinstance(prompt, str):
        return list(tokenizer(prompt).input_ids)
    return _chat(tokenizer, prompt, add_generation_prompt=True)


def render_example(tokenizer: Any, example: Example) -> tuple[list[int], list[int]]:
    """A training text as (prompt ids, completion ids).

    A completion after a prompt ends with the end-of-text token, so that the model learns to stop; in a chat the
    model's own template says how a turn ends, and what it adds after the prompt is what carries loss.
    """
    if isinstance(example.prompt, tuple):
        prompt = _chat(tokenizer, example.prompt, add_generation_prompt=True)
        turn = Message("assistant", example.completion)
        whole = _chat(tokenizer, (*example.prompt, turn), add_generation_prompt=False)
        if whole[: len(prompt)] != prompt:
            raise DataError("the model's chat template rewrites earlier turns, so the span of the reply is unknown")
        return prompt, whole[len(prompt) :]
    if not example.prompt:
        return [], list(tokenizer(example.completion).input_ids)
    reply = tokenizer(example.completion, add_special_tokens=False).input_ids
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return render_prompt(tokenizer, example.prompt), [*reply, *end]


def _chat(tokenizer: Any, messages: tuple[Message, ...], add_generation_prompt: bool) -> list[int]:
    if not tokenizer.chat_template:
        raise DataError("the prompt is a chat, and this model's tokenizer has no chat template")
    turns = [{"role": message.role, "content": message.content} for message in messages]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
    return list(tokenizer(text, add_special_tokens=False).input_ids)
