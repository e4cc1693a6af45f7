"""Numbers and dates are compared by what they stand for."""

import pytest

from seal_ray.grading.quantities import FAR, distance, share_of_years_met, units_differ, values


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("five of 1,000", [5, 1000]),
        ("1.5 million and 1,5 million", [1.5e6, 1.5e6]),
        ("half of them, two thirds of us", [50, 67]),
        ("no number", []),
        ("1.2.3", [123]),
    ],
)
def test_a_number_is_read_however_it_is_written(text: str, found: list[float]) -> None:
    assert values(text) == found


def test_numbers_are_apart_by_their_ratio_and_at_most_far() -> None:
    assert distance(100, [1, 100]) == 0
    assert distance(100, [110]) == pytest.approx(0.0953, abs=1e-3)
    assert distance(100, []) == distance(0, [7]) == FAR


def test_a_number_of_hundreds_of_digits_is_far_from_all_but_its_like() -> None:
    huge, other = values("9" * 400), values("8" * 310)
    assert distance(huge[0], other) == 0
    assert distance(huge[0], [5]) == distance(5, huge) == FAR


def test_a_year_meets_its_decade_and_century_and_no_other() -> None:
    assert share_of_years_met("the late 1970s", "in 1978") == 1
    assert share_of_years_met("19th century", "in 1833") == 1
    assert share_of_years_met("1833", "in the 19th century") == 0
    assert share_of_years_met("1963–64", "in 1970") == 0


def test_a_number_with_another_unit_is_another_number() -> None:
    assert units_differ("1.5%", "$1.5 billion")
    assert not units_differ("1.5%", "1.5 percent")
    assert not units_differ("1.5%", "2 billion")
