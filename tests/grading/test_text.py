"""Words as graders compare them: what may be left out of an answer, and what may not."""

from __future__ import annotations

import asyncio

import pytest

from seal_ray.grading import Item, load


@pytest.mark.parametrize("grader", ["exact", "f1"])
@pytest.mark.parametrize(
    ("gold", "other"),
    [
        ("+", "-"),
        ("€", "$"),
        ("😀", "😡"),
        ("A", "the"),
        ("A", "!"),
        ("C++", "C#"),
        ("C#", "C"),
        ("10.0.0.10", "10.0.0.1"),
    ],
)
def test_an_answer_of_signs_or_of_one_letter_is_no_other(grader: str, gold: str, other: str) -> None:
    said = [Item("Which?", gold, answer) for answer in (gold, f" {gold.lower()}\n", other)]
    assert asyncio.run(load(grader).grade(said)) == [1, 1, 0]


@pytest.mark.parametrize(("gold", "answer"), [("C++", "C#"), ("1.2.10", "1.2.1")], ids=["languages", "versions"])
def test_the_offline_verdict_tells_names_apart_that_differ_in_their_last_sign(gold: str, answer: str) -> None:
    right, wrong = asyncio.run(load("offline").grade([Item("Which is it?", gold, each) for each in (gold, answer)]))
    assert right > 0.9
    assert wrong < 0.1


@pytest.mark.parametrize(
    ("gold", "answer"), [("the Ann", "ann!"), ("1,000", "1000"), ("2.50", "2.5"), ("five", "5"), ("A dog", "dog")]
)
def test_case_punctuation_and_articles_beside_a_word_do_not_matter(gold: str, answer: str) -> None:
    assert asyncio.run(load("exact").grade([Item("", gold, answer)])) == [1.0]
