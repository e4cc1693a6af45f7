"""Of few tasks no table gives an interval."""

from __future__ import annotations

import pytest

from seal_ray.looking.words import accuracy
from seal_ray.record.summary import cells, interval


@pytest.mark.parametrize(
    ("tasks", "between", "listed"), [(1, "too few tasks", "1 task"), (5, "too few tasks", "5 tasks")]
)
def test_fewer_than_six_tasks_have_no_interval(tasks: int, between: str, listed: str) -> None:
    found = interval([0.25] * tasks)
    assert cells(found)[:2] == ("25.0%", between)
    assert accuracy(found) == f"25.0% ({listed})"


def test_six_have_one() -> None:
    found = interval([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert cells(found)[1] == f"{found.low:.1%} – {found.high:.1%}"
    assert accuracy(found) == f"50.0% ({found.low:.1%} – {found.high:.1%})"
