"""Text that others wrote stops nothing: a bad text is one declared error, in time linear in the text."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seal_ray.domains.registry import load_domain
from seal_ray.events import Events
from seal_ray.loop.trials import TrialRunner
from seal_ray.loop.workshop import Workshop
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.types import Completion, DataError, Grade, Outcome, Recipe, SampleRequest, Task, Trial
from tests.fuzz import LIMIT, fuzz
from tests.hostile import LONG, PLACES, UNITS
from tests.runs import small_run

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400) | st.lists(
    st.sampled_from(UNITS) | st.text(st.characters(exclude_categories=()), max_size=3), max_size=60
).map("".join)


@pytest.mark.parametrize("name", PLACES)
@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(text=ANY_TEXT)
@example(text="\ud800")
@example(text="\x00\u202e\u2066")
@example(text="[" * 100_000)
@example(text='{"a":' * 100_000)
@example(text='{"basic": ' + "[" * 1_000)
@example(text="It was " + "9" * 10_000)
@example(text='{"epochs": ' + "9" * 10_000 + "}")
def test_any_text_is_taken_or_refused_as_declared(name: str, text: str) -> None:
    with contextlib.suppress(*PLACES[name].declared):
        PLACES[name].take(text)


SLOW_BEFORE = (
    "What is it?\nAnswer: x\nQ" + "." * LONG + "x" + "\n" * LONG,
    "[[1]" + " " * LONG,
    "Question 1: " + "\n " * (LONG // 2) + "A",
    "9," * (LONG // 2),
    "1." * (LONG // 2) + "1=1",
    "a" + "\u0301" * LONG,
    "\ufdfa" * LONG,
    "Aa " * (LONG // 3),
    " and or" * (LONG // 7),
    " ".join(f"w{n:05d}x" for n in range(LONG // 8)),
)


@pytest.mark.parametrize("name", PLACES)
def test_sixty_thousand_characters_take_no_second(name: str) -> None:
    for text in SLOW_BEFORE:
        start = time.thread_time()
        with contextlib.suppress(*PLACES[name].declared):
            PLACES[name].take(text)
        assert time.thread_time() - start < LIMIT, text[:40]


@pytest.mark.slow
def test_a_share_of_the_fuzz_run_finds_nothing() -> None:
    found = fuzz(inputs=1500, seed=2, pages=2)
    assert not found.problems, "\n".join(found.problems)
    assert set(found.inputs) == {*PLACES, "the report"}


class Writes:
    """Workers that write one text, and answer with it."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def sample(self, request: SampleRequest) -> Completion:
        return Completion(self._text, 2, finished=True)

    async def run_trial(self, trial: Trial) -> Outcome:
        return Outcome(trial.key, answers=(self._text,) * len(trial.questions))


def test_self_edits_are_read_beside_the_event_loop_and_an_answer_that_cannot_be_graded_fails_alone(
    tmp_path: Path,
) -> None:
    config = small_run(tmp_path)
    domain, journal = load_domain(config), Journal(Store(str(tmp_path)))
    read_in: set[int] = set()
    plain_recipe, plain_grade = domain.recipe, domain.grade
    first, *others = domain.tasks("train", 3, seed=1)

    def recipe(task: Task, completion: str, seed: int) -> Recipe:
        read_in.add(threading.get_ident())
        return plain_recipe(task, completion, seed)

    async def grade(task: Task, answers: Any) -> Grade:
        if task.id == first.id:
            raise DataError("http://judge/v1: request refused (HTTP 400)\n\x1b[2J")
        return await plain_grade(task, answers)

    domain.recipe, domain.grade = recipe, grade  # type: ignore[method-assign]
    runner = TrialRunner(Workshop(config, domain, cast(Any, Writes("a note")), journal, Events(journal)))
    asyncio.run(runner.explore(1, [first, *others], with_rewards=True))
    assert read_in
    assert threading.get_ident() not in read_in
    failed = [row for row in journal.rows("outcomes") if row["failure"]]
    assert {row["reason"] for row in failed} == {"not graded: http://judge/v1: request refused (HTTP 400) [2J"}
    assert len(failed) < len(list(journal.rows("outcomes")))
