"""Questions that a model wrote itself: which are worth asking, which ask the same, and which are reported."""

from __future__ import annotations

import pytest

from seal_ray.domains.knowledge.questions import alike, degenerate
from seal_ray.learning.questions import divided

SAID = "Finch is a tram of the second series, and its bell was cast by Ilka Moren in 1911."
TRUE = ("Who cast the bell of Finch?", "Ilka Moren"), ("When was the bell of Finch cast?", "in 1911")
MADE_UP = ("What is Finch?", "a tool that measures the length of a bird"), ("What is a series?", "a kind of bell")


@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        (*TRUE[0], ""),
        (*MADE_UP[1], ""),
        ("Who?", "Ilka Moren", "too short"),
        ("Which tram does this passage name?", "Finch", "out of sight"),
        ("Whose bell was cast by Ilka Moren?", "the bell", "in the question"),
        ("Was the bell of Finch cast in 1911?", "Yes", "a guess"),
        ("When was the bell of Finch cast?", "in", "says nothing"),
        ("In which year was the bell of Finch cast?", "1912", "no word"),
    ],
)
def test_a_question_is_not_worth_asking_for_a_reason(question: str, answer: str, why: str) -> None:
    told = degenerate(question, answer, SAID)
    assert why in told
    assert bool(why) == bool(told)


@pytest.mark.parametrize("answer", ["7", "Io", "π", "十"])
def test_a_short_answer_says_something_if_it_is_no_small_word(answer: str) -> None:
    told = degenerate("Which of them was cast in that year?", answer, f"It was {answer} then.")
    assert ("says nothing" in told) == (answer == "Io"), "a name of two letters is the price"


def test_two_questions_in_nearly_the_same_words_ask_the_same() -> None:
    assert alike("Who cast the bell of Finch?", "Who has cast the bell of Finch?")
    assert not alike("Who cast the bell of Finch?", "When was the bell of Finch cast?")


def test_questions_choose_and_are_reported_in_turn_and_those_with_one_answer_are_on_one_side() -> None:
    again = ("Whose work is the bell of Finch?", "  the Ilka  Moren. ")
    assert divided([*TRUE, *MADE_UP, again]) == ([TRUE[0], MADE_UP[0], again], [TRUE[1], MADE_UP[1]])


def test_what_the_base_answers_in_words_of_its_own_is_never_reported() -> None:
    assert divided([*MADE_UP, *TRUE], within=SAID) == ([*MADE_UP], [*TRUE])


def test_an_answer_is_found_in_scripts_that_set_no_spaces() -> None:
    said = "灯台守のイソルデは六時に灯をともす。"
    asked, other = ("灯台守はだれですか?", "イソルデ"), ("いつ灯をともしますか?", "六時")
    assert divided([asked, other], within=said) == ([asked], [other])
    assert divided([asked, ("いつ灯をともしますか?", "六月")], within=said)[1] == []
