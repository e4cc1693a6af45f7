"""What a grader of one's own may give: a number from 0 to 1 on each answer, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from seal_ray.domains.knowledge.domain import Knowledge
from seal_ray.domains.knowledge.passages import Passage
from seal_ray.grading import Item
from seal_ray.types import Grade, UserError

PASSAGE = Passage("Otters", "Otters hold hands.", (("Who?", "otters"), ("What?", "hands")))


class Given:
    """Gives the same verdicts whatever it is asked."""

    def __init__(self, verdicts: Any) -> None:
        self._verdicts = verdicts

    async def grade(self, items: Sequence[Item]) -> Any:
        return self._verdicts


def graded(verdicts: Any) -> Grade:
    domain = Knowledge(Knowledge.Options(train="unread.jsonl"), grader=Given(verdicts))
    return asyncio.run(domain.grade(domain.task(PASSAGE), ["otters", "feet"]))


@pytest.mark.parametrize("verdicts", [[1.0, 0.0], [1, 0], [True, False], np.array([1, 0], np.float32)])
def test_numbers_and_truths_are_verdicts(verdicts: Any) -> None:
    assert graded(verdicts) == Grade((1.0, 0.0), 0.5)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([1.0], "grader Given gave 1 verdict on 2 answers"),
        ([1.0] * 3, "gave 3 verdicts on 2 answers"),
        ([], "gave 0 verdicts on 2 answers"),
        ([1.0, float("nan")], "gave nan as a verdict; one is a number from 0, wrong, to 1, right"),
        ([83.0, 17.0], "gave 83.0 as a verdict"),
        ([-1.0, 1.0], "gave -1.0 as a verdict"),
        ([None, 1.0], "gave None as a verdict"),
        (["1", "0"], "gave '1' as a verdict"),
    ],
)
def test_what_is_no_verdict_on_each_answer_stops_the_run_in_one_line(verdicts: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        graded(verdicts)


@pytest.mark.parametrize(("verdicts", "reward"), [((1.0,), float("nan")), ((1.0,), 1.5), ((float("nan"),), 1.0)])
def test_no_domain_makes_a_grade_of_what_is_no_share(verdicts: tuple[float, ...], reward: float) -> None:
    with pytest.raises(UserError, match="verdicts and rewards are numbers from 0 to 1"):
        Grade(verdicts, reward)
