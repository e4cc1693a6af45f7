"""What is in an adapter that was put together from others, by name."""

from __future__ import annotations

from seal_ray.policy.catalogue import Held, contents
from seal_ray.record.rows import LearntRow, RetractedRow


def stacked(passages: int) -> list[Held]:
    """A sequence in which each passage was learnt on top of all before."""
    held, last = list[Held](), "base"
    for step in range(1, passages + 1):
        row = LearntRow(f"key {step}", step=step, rank=1, adapter=f"adapter {step}", learned=f"lesson {step}")
        lesson, after = f"merge/0/lesson-{step}", f"merge/0/after-{step}"
        held += [Held(lesson, "lesson", row, (last,), row.learned), Held(after, "policy", row, (last, lesson))]
        last = after
    return held


def test_a_sequence_of_any_length_is_in_its_last_policy_but_for_what_was_taken_out() -> None:
    held = stacked(1200)
    lessons = {each.name for each in held if each.kind == "lesson"}
    assert contents(held, held[-1]) == lessons
    assert contents(held, held[-2]) == {held[-2].name}, "a lesson is what it alone added"
    without = Held("merge/0/without-7", "retracted", RetractedRow("key", out=(7,)), (held[-1].name,))
    assert contents(held, without) == lessons - {"merge/0/lesson-7"}
