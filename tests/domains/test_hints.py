"""How the domains ask with a hint, and ask for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seal_ray.domains.base import Advisable
from seal_ray.domains.knowledge.advice import _LONGEST
from seal_ray.domains.knowledge.domain import Knowledge
from seal_ray.domains.knowledge.studied import Studied
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.types import UserError, last_turn

PASSAGE = {
    "title": "Stars",
    "context": "The star is old {and} far.",
    "questions": [{"question": "How old?", "answer": "very"}],
}
HINT = "Say each fact twice, in {other} words."
WITH_HINT = f"What helped with other passages: {HINT}"


def knowledge(tmp_path: Path, **options: Any) -> Knowledge:
    source = tmp_path / "stars.json"
    source.write_text(json.dumps([PASSAGE]))
    return Knowledge(Knowledge.Options(train=str(source), test_fraction=0.0, **options))


@pytest.mark.parametrize("chat", [False, True])
def test_a_hint_stands_behind_the_instruction_and_before_the_passage(tmp_path: Path, chat: bool) -> None:
    domain = knowledge(tmp_path, chat=chat)
    (task,) = domain.tasks("train", None, 1)
    hinted = domain.with_hint(HINT)
    instruction, passage = last_turn(hinted.prompt(task)).split("\n\n")[:2]
    assert instruction == f"{domain.style.task} {WITH_HINT}"
    assert passage == "Title: Stars\nThe star is old {and} far."
    assert last_turn(domain.prompt(task)) == last_turn(hinted.prompt(task)).replace(f" {WITH_HINT}", "")
    assert hinted.recipe(task, "It is far.", 0) == domain.recipe(task, "It is far.", 0)


def test_a_hint_stands_before_a_template_of_ones_own_whose_end_may_be_a_cue(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("{context}\nIn short:")
    domain = knowledge(tmp_path, template=str(tmp_path / "own.txt"))
    (task,) = domain.tasks("train", None, 1)
    found = domain.with_hint(HINT).prompt(task)
    assert found == f"{WITH_HINT}\n\nThe star is old {{and}} far.\nIn short:"


@pytest.mark.parametrize("chat", [False, True])
def test_advice_is_asked_for_by_what_was_written_without_the_passage_and_without_a_stop(
    tmp_path: Path, chat: bool
) -> None:
    domain = knowledge(tmp_path, chat=chat)
    (task,) = domain.tasks("train", None, 1)
    asking = domain.advising("The star is far.\n" * 90, "Old.")
    assert asking.sample_stop == ()
    prompt = asking.prompt(task)
    text = last_turn(prompt)
    *before, best, worst, asked = text.split("\n\n")
    assert best.startswith("Notes from which much was learnt:\nThe star is far.")
    assert best.endswith(" …")
    assert len(best) < _LONGEST + 50
    assert worst == "Notes from which little was learnt:\nOld."
    assert ("begins with a verb" in asked) == chat
    examples = [turn.content for turn in prompt[1:-1]] if chat else before
    assert "Name in each line what it is about, with its number or date." in examples
    assert task.context not in text
    assert domain.prompt(task) != asking.prompt(task)


def test_documents_that_are_learnt_are_asked_for_with_the_hint_too(tmp_path: Path) -> None:
    domain = Studied(Studied.Options(train=str(knowledge(tmp_path).options.train)))
    (task,) = domain.tasks("train", None, 1)
    assert HINT in last_turn(domain.with_hint(HINT).prompt(task))
    assert HINT not in last_turn(domain.prompt(task))


def test_the_hints_of_the_micro_world_are_the_words_that_notes_begin_with() -> None:
    domain = MicroWorld()
    assert isinstance(domain, Advisable)
    (task,) = domain.tasks("train", 1, 1)
    assert domain.with_hint("questions").prompt(task) == domain.in_style("questions").prompt(task)
    assert domain.advising("a", "b") is None
    with pytest.raises(UserError, match="it takes copy, facts, reversed facts"):
        domain.with_hint("Be brief.")
