"""What workers did is found in a journal that says when each text and each trial was asked for and done."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from seal_ray.plan.measure import Observed, Time, fit, sampler_stretches, trainer_stretches
from seal_ray.record.rows import OutcomeRow, SelfEditRow, SpanRow

STEP, ROW = 0.06, 0.006


def journal(texts: int, places: int | None) -> Iterator[tuple[SpanRow, SelfEditRow]]:
    """All asked for at nearly once; each has a place from when one is free until it is done."""
    draw = random.Random(1)
    waiting = [(number, draw.randint(20, 160)) for number in range(texts)]
    writing: list[tuple[int, int, int]] = []
    now = 0.0
    while waiting or writing:
        room = len(waiting) if places is None else places - len(writing)
        writing += [(number, tokens, tokens + 1) for number, tokens in waiting[:room]]
        waiting = waiting[room:]
        now += STEP + len(writing) * ROW
        for number, tokens, _ in (text for text in writing if text[2] == 1):
            yield SpanRow.of("sample", "one", number * 1e-6, now), SelfEditRow("", worker="one", tokens=tokens)
        writing = [(number, tokens, left - 1) for number, tokens, left in writing if left > 1]


@pytest.mark.parametrize("places", [8, 64, None])
def test_what_a_step_and_a_text_in_it_take_is_found_whether_places_are_refilled_or_all_begin_at_once(
    places: int | None,
) -> None:
    spans, edits = zip(*journal(192, places), strict=True)
    step, row = fit(list(sampler_stretches(spans, edits, Time(spans, 0), places)))
    for texts in (1, places or 192):
        assert step + texts * row == pytest.approx(STEP + texts * ROW, rel=0.1)


def test_a_sampler_that_wrote_no_self_edit_says_nothing_of_how_long_they_take() -> None:
    spans, edits = map(list, zip(*journal(40, 8), strict=True))
    others = [replace(span, worker="another") for span in spans]
    found, alone = (list(sampler_stretches(some, edits, Time(some, 0), 8)) for some in ([*spans, *others], spans))
    assert found == alone


def test_what_a_trainer_did_between_two_batches_of_results_is_counted_side_by_side() -> None:
    ends = (4.0, 4.0, 4.0, 9.0)
    spans = [SpanRow.of("trial", "one", 0.0, end) for end in ends]
    trained = [OutcomeRow(f"{n}", worker="one", steps=6, tokens=50, answers=("a", "b")) for n in range(3)]
    asked = OutcomeRow("asked", worker="one", answers=("a",))
    elsewhere = OutcomeRow("elsewhere", worker="another", steps=6, tokens=50)
    found = list(trainer_stretches(spans, [*trained, elsewhere, asked], Time(spans, 0), slots=2, answer=8))
    assert found == [
        Observed(4.0, (18 / 2, 150, 2 * 9, 6 * 8), first=True),
        Observed(5.0, (0, 0, 9, 8)),
    ]


def test_what_a_trainer_waited_for_its_next_trial_is_no_time_of_that_trial() -> None:
    spans = [SpanRow.of("trial", "one", start, end) for start, end in ((0.0, 1.0), (5.0, 6.0), (10.0, 12.5))]
    rows = [OutcomeRow(f"{n}", worker="one", steps=6, tokens=50) for n in range(3)]
    found = list(trainer_stretches(spans, rows, Time(spans, 0), slots=2, answer=8))
    assert [each.seconds for each in found] == [1.0, 1.0, 2.5]
