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


@pytest.mark.parametrize("grader", ["exact", "f1", "offline"])
@pytest.mark.parametrize(
    ("gold", "as_well", "other"),
    [
        ("-5 °C", "−5 °C", "5 °C"),
        ("5 °C", "+5 °C", "-5 °C"),
        ("$5", "$5", "-$5"),
        ("minus 40 degrees", "-40 degrees", "40 degrees"),
        ("-5度", "−5度", "5度"),
    ],
)
def test_a_number_below_zero_is_not_the_one_above(grader: str, gold: str, as_well: str, other: str) -> None:
    said = [Item("How much is it?", gold, answer) for answer in (gold, as_well, other)]
    right, right_too, wrong = asyncio.run(load(grader).grade(said))
    assert min(right, right_too) > 0.9
    assert wrong < (0.9 if grader == "f1" else 0.1)


@pytest.mark.parametrize(
    ("gold", "answer"), [("3-5", "3 –5"), ("2026-11-29", "2026/11/29"), ("F-16", "F16"), ("UTC-3", "utc 3")]
)
def test_a_hyphen_and_the_dash_of_a_range_are_no_signs(gold: str, answer: str) -> None:
    assert asyncio.run(load("exact").grade([Item("", gold, answer), Item("", "UTC+3", answer)])) == [1.0, 0.0]


@pytest.mark.parametrize(("gold", "answer"), [("-5%", "Sales fell by 5%."), ("They fell by 5%", "-5%")])
def test_the_offline_verdict_takes_words_for_a_sign(gold: str, answer: str) -> None:
    (right,) = asyncio.run(load("offline").grade([Item("How did sales change?", gold, answer)]))
    assert right > 0.5


@pytest.mark.parametrize(
    ("gold", "answer"), [("the Ann", "ann!"), ("1,000", "1000"), ("2.50", "2.5"), ("five", "5"), ("A dog", "dog")]
)
def test_case_punctuation_and_articles_beside_a_word_do_not_matter(gold: str, answer: str) -> None:
    assert asyncio.run(load("exact").grade([Item("", gold, answer)])) == [1.0]
