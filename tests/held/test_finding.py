"""How lessons are found is measured on a recorded run, and what is measured is what the run did."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.finding import measure, table
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow
from seal_ray.record.storage import Store
from seal_ray.types import UserError


def test_lessons_are_found_by_words_as_the_run_found_them_and_by_likelihood(whole: Path) -> None:
    words, likelihood, over_mean = found = measure(str(whole))
    last = max(
        (row for row in Journal(Store(str(whole))).read(LearntRow) if row.way == "library"), key=lambda row: row.step
    )
    assert words.own == last.found
    assert (words.lessons, words.questions, words.elsewhere) == (8, 8 * 6, 1.0)
    assert likelihood.own > 0.5, "a lesson makes its own passage's questions likelier"
    assert over_mean.own > 0.5
    assert likelihood.seconds > 0
    assert len(table(found).splitlines()) == 2 + 3


def test_among_fewer_lessons_only_their_questions_are_looked_for(whole: Path) -> None:
    assert [(each.lessons, each.questions) for each in measure(str(whole), [2])] == [(2, 2 * 6)] * 3


def test_a_run_without_such_an_order_is_named(whole: Path) -> None:
    with pytest.raises(UserError, match=r"give a run without rounds that learnt passages in turn by 'library'"):
        measure(str(whole), sequence=3)
