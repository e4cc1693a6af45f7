"""What a model is shown depends on the prompt and its tokenizer alone."""

from __future__ import annotations

import datetime

import pytest
import transformers.utils.chat_template_utils as templates

from seal_ray.types import Example, Message
from seal_ray.workers.engines.text import render_example, render_prompt
from tests.bank.small import make_tokenizer

DATED = (
    "{%- if not date_string is defined %}{%- set date_string = strftime_now('w%d w%m') %}{%- endif %}"
    "{{ date_string + ' ' }}{%- for m in messages %}{{ m['content'] + ' </s> ' }}{%- endfor %}"
)
"""The lines of Llama-3.2's template that matter, in the words of the small tokenizer."""
CHAT = (Message("system", "w7 w8"), Message("user", "w9"))


def test_a_template_that_writes_the_date_writes_the_same_one_every_day(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = DATED
    shown = []
    for day in (11, 12):

        class Day(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None, day: int = day) -> datetime.datetime:  # type: ignore[override]
                return datetime.datetime(2026, 11, day)

        monkeypatch.setattr(templates, "datetime", Day)
        shown.append((render_prompt(tokenizer, CHAT), render_example(tokenizer, Example("w1", CHAT))))
    assert shown[0] == shown[1]
    assert tokenizer.convert_tokens_to_ids("w26") == shown[0][0][0]
