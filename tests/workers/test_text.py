"""From the domains' words to tokens: where a text begins to carry loss, and where it ends."""

from __future__ import annotations

from typing import Any

import pytest

from seal_ray.model.loading import ModelSpec, load_tokenizer
from seal_ray.types import DataError, Example, Message
from seal_ray.workers.engines.text import render_example
from tests.workers.tiny import write_model

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}(thinks nothing){% endif %}"
    "{{ m.content | trim }}.END.{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
CHAT = (Message("user", "Who eats?"),)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    tokenizer = load_tokenizer(ModelSpec(str(write_model(tmp_path_factory.mktemp("model"))), None, "float32", 64))
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def rendered(tokenizer: Any, example: Example) -> tuple[str, str]:
    prompt, reply = render_example(tokenizer, example)
    return tokenizer.decode(prompt), tokenizer.decode(reply)


def test_a_whole_reply_ends_as_the_model_is_to_end_it_and_one_that_was_cut_off_does_not(tokenizer: Any) -> None:
    whole, cut = Example("The heron", "Who eats?"), Example("The heron", "Who eats?", whole=False)
    assert rendered(tokenizer, whole) == ("Who eats?", "The heron<end>")
    assert rendered(tokenizer, cut) == ("Who eats?", "The heron")


def test_a_reply_in_a_chat_that_was_cut_off_is_its_own_words_alone(tokenizer: Any) -> None:
    turns = "[user]Who eats?.END.[assistant]"
    assert rendered(tokenizer, Example("The heron", CHAT)) == (turns, "(thinks nothing)The heron.END.")
    for words in ("The heron", "E", "thinks", "."):
        cut = Example(f" {words}\n", CHAT, whole=False)
        assert rendered(tokenizer, cut) == (f"{turns}(thinks nothing)", words)


def test_a_template_whose_turns_end_in_their_own_ways_has_no_cut_off_replies(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{{ m.content | length }}{% endfor %}"
    with pytest.raises(DataError, match="ends turns in more than one way"):
        render_example(tokenizer, Example("The heron", CHAT, whole=False))
    tokenizer.chat_template = TEMPLATE
