"""Answers are the same whatever they are computed beside, as far as numbers are fine enough."""

from __future__ import annotations

from benchmarks.company import Flips, measure, table
from seal_ray.config import load
from tests.runs import CONFIG


def test_in_double_precision_no_answer_changes_with_its_company() -> None:
    small = ("--domain.train", "2", "--domain.test", "2", "--trial.answer_tokens", "6")
    (found,) = measure(load(CONFIG, small), ["float64"])
    assert found.answers > 4
    assert (found.flipped, found.first) == (0, 0)
    assert "| float64 | 12 | 3 (25%) | 1 |" in table([Flips("float64", 12, 3, 1)])
