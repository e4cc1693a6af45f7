"""The question a judge model is asked, and what its reply comes to."""

from __future__ import annotations

import re

from seal_ray.grading.base import Item

MAX_REPLY_TOKENS = 16
_WORD = re.compile(r"\b(yes|no)\b", re.IGNORECASE)
_INSTRUCTION = """Someone answered a question from memory. Decide whether the answer is right, going by the reference.
Wording, spelling, extra true detail and an unfinished last sentence do not matter; the fact asked for does.
An answer that contradicts the reference, hedges between several candidates, or misses the fact is wrong."""
_REQUEST = "Is the answer right? Reply with one word, yes or no."


def verdict(reply: str) -> bool:
    """Whether a judge's reply says yes. Anything ambiguous is a no."""
    return {word.lower() for word in _WORD.findall(reply)} == {"yes"}


def judge_text(item: Item) -> str:
    """What a judge is asked about an answer."""
    topic = f"Topic: {item.title}\n" if item.title else ""
    case = f"{topic}Question: {item.question}\nReference answer: {item.gold}\nAnswer to judge: {item.answer}"
    return f"{_INSTRUCTION}\n\n{case}\n\n{_REQUEST}"
