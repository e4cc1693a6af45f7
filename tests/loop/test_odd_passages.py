"""Passages in turn that come again, and that contradict each other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.domains.base import Split
from seal_ray.domains.microworld import world
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.domains.microworld.world import MicroTask
from seal_ray.loop.odd_passages import come_before, contradictions
from seal_ray.loop.run import run
from seal_ray.record.continual import by_way, orders
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.types import Question, Task
from tests.runs import small_run

TURNS = [
    *("--workers.address", "in-process", "--run.rounds", "0", "--evaluation.samples", "0"),
    *("--evaluation.baselines", "[]", "--continual.sequences", "1", "--continual.passages", "2", "--domain.test", "2"),
]


def passage(name: str, context: str) -> Task:
    return Task(name, name, context, ())


class Again(MicroWorld):
    """Its second held-out passage has the text of the first."""

    def tasks(self, split: Split, count: int | None, seed: int) -> Sequence[MicroTask]:
        one, other, *more = super().tasks(split, count, seed)
        return [one, replace(one, id=other.id, context=one.context + "\n") if split == "test" else other, *more]


class Otherwise(MicroWorld):
    """Its second held-out passage says of the people of the first that they live elsewhere, or are another thing."""

    def tasks(self, split: Split, count: int | None, seed: int) -> Sequence[MicroTask]:
        one, other, *more = super().tasks(split, count, seed)
        changed = one.facts[0].attribute
        facts = tuple(fact._replace(value=self._another(fact)) if fact.attribute == changed else fact
                      for fact in one.facts)  # fmt: skip
        context = "\n".join(world.entries(facts))
        answers = {fact.name: fact.value for fact in facts if fact.attribute == changed}
        old = {fact.value: fact.name for fact in one.facts if fact.attribute == changed}
        asked = [question for question in one.questions if question.answer in old]
        now = tuple(Question(question.prompt, answers[old[question.answer]]) for question in asked)
        return [replace(one, questions=tuple(asked)), replace(other, context=context, questions=now), *more]

    @staticmethod
    def _another(fact: world.Fact) -> str:
        values = world.GRAMMAR[fact.attribute].values
        return values[(values.index(fact.value) + 5) % len(values)]


def test_a_text_that_came_before_is_known_again_however_it_is_laid_out() -> None:
    first, again = passage("a", "The inn is open.\nIt is old."), passage("b", "The inn is\nopen. It is old.\n")
    assert come_before(again, [passage("c", "Another."), first]) is first
    assert come_before(again, []) is None
    assert come_before(passage("d", ""), [passage("e", "")]) is None


def test_only_sentences_of_one_and_the_same_thing_contradict_each_other() -> None:
    one = passage("old", "The captain is Hester Quill. A goat costs twenty crowns.")
    other = passage("new", "The captain is Amos Bell. A sheep costs twenty crowns.")
    (line,) = contradictions([one, other])
    assert line == (
        "old says “The captain is Hester Quill.”, and new says “The captain is Amos Bell.”: both are learnt and asked; "
        "whichever comes later wins"
    )
    assert contradictions([one]) == []


@pytest.mark.slow
def test_of_a_text_that_is_learnt_already_nothing_is_learnt_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run(small_run(tmp_path / "run", *TURNS, "--domain.name", "tests.loop.test_odd_passages:Again"))
    assert "which is learnt; nothing is learnt of it" in caplog.text
    journal = Journal(Store(str(tmp_path / "run")))
    first, second = sorted(journal.read(LearntRow), key=lambda row: row.step)
    assert (first.adapter, second.learned, second.tokens) == (second.adapter, "", 0)
    assert len(list(journal.read(SelfEditRow))) == 1, "nothing is written of it either"


@pytest.mark.slow
def test_facts_that_contradict_earlier_ones_are_both_on_record_and_the_later_win(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("--domain.options.directions", '["forward"]', "--continual.writer", "start")
    with caplog.at_level(logging.WARNING):
        run(small_run(tmp_path / "run", *TURNS, *options, "--domain.name", "tests.loop.test_odd_passages:Otherwise"))
    assert "whichever comes later wins" in caplog.text
    journal = Journal(Store(str(tmp_path / "run")))
    assert all(row.learned for row in journal.read(LearntRow))
    matrix = by_way(orders(journal))["merge"]["matrix"]
    assert matrix[1][0] > matrix[1][1]
    assert matrix[2][1] > matrix[2][0]
