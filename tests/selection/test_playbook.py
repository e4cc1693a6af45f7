"""Hints for writing self-edits: what counts as one, and how long it stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seal_ray.record.summary import FEWEST
from seal_ray.selection.playbook import LONGEST, Hint, advice, alike, in_force, paying
from seal_ray.types import DataError

TEXTS = [
    "on Marrow Castle",
    "The castle of Marrow was built in 1388. Its keep, which Emil Corrin restored, has eleven rooms and a well.",
    "1. Emil Corrin restored the keep.\n2. The well is deep. It has Eleven steps, and is older than the castle.",
]
WRITTEN = {
    "a plain line": ("Say every fact in a sentence of its own.", "Say every fact in a sentence of its own."),
    "a label": ("Advice: Say each fact twice.", "Say each fact twice."),
    "a label in a sentence": ("Here is one short piece of advice: Say each fact twice.", "Say each fact twice."),
    "a label after a greeting": ("Sure, here's the rule: Say each fact twice.", "Say each fact twice."),
    "marks": ('1. **"Say each fact twice"**', "Say each fact twice"),
    "a heading before it": ("Sure, here you are:\n\n- Say each fact twice.\n- Be brief.", "Say each fact twice."),
    "two long sentences": (f"Say each fact twice, in other words. {'And go on with it, ' * 20}", None),
    "what a terminal obeys": ("Say each \x1b[31mfact twice.", "Say each [31mfact twice."),
    "a thought": ("<think>\nThe former name Corrin.\n</think>\n\nSay each fact twice.", "Say each fact twice."),
    "a thought that the prompt began": ("Hm. The well is deep.</think>Say each fact twice.", "Say each fact twice."),
    "numbers of its own": ("Write 12 lines, each a whole sentence.", "Write 12 lines, each a whole sentence."),
    "a word that is no name in the texts": ("Tell how deep and old things are.", "Tell how deep and old things are."),
}
NONE = {
    "nothing": "",
    "a word": "Yes.",
    "a heading alone": "Advice:",
    "a thought that was cut off": "<think>Say each fact twice. But is that",
    "a thought alone": "<think>Say each fact twice.</think>",
    "a sermon": "Say " + "it and " * 40,
    "a name of the text": "Say first what Corrin did, and then the rest.",
    "a name in small letters": "say first what corrin did, and then the rest.",
    "a number of the text": "Always begin with the year, such as 1388.",
    "words of the text": "Remember that the well is deep, and so on.",
    "what only who was asked can see": "Write notes that are like the first and not like the second ones.",
    "what another hint says": "Say every single fact in a sentence of its own!",
}


@pytest.mark.parametrize("reply", WRITTEN, ids=lambda name: name.replace(" ", "-"))
def test_a_reply_with_a_line_of_advice_is_a_hint(reply: str) -> None:
    said, hint = WRITTEN[reply]
    assert advice(said, TEXTS, ["Turn it into questions."]) == (hint or said.split(". ")[0] + ".")


@pytest.mark.parametrize("reply", NONE, ids=lambda name: name.replace(" ", "-"))
def test_a_reply_without_one_is_refused(reply: str) -> None:
    with pytest.raises(DataError, match="the reply"):
        advice(NONE[reply], TEXTS, ["Say every fact in a sentence of its own."])


def test_a_hint_is_a_line_that_has_room_in_every_prompt() -> None:
    with pytest.raises(DataError, match="too long"):
        advice(f"Say {'extraordinarily' * (LONGEST // 10)} much of it.", TEXTS, [])


def test_hints_are_alike_by_their_words_in_whatever_order() -> None:
    assert alike("Ask for each thing first.", "first, ask for each thing")
    assert not alike("Ask for each thing first.", "Say each thing twice, and ask for nothing.")


def tried(gains: list[float], times: int = 1) -> list[tuple[str, float]]:
    return [(f"task {number}", gain) for number, gain in enumerate(gains) for _ in range(times)]


HINT = Hint("Say each fact twice.", since=1)
COSTS, MIXED, PAYS = [-0.2, -0.1, -0.3] * 2, [-0.3, 0.3, 0.1] * 2, [0.2, 0.1, 0.3] * 2


def test_a_hint_is_dropped_when_its_interval_lies_below_zero_over_enough_tasks() -> None:
    assert HINT.after(3, tried(COSTS)).dropped == 3
    assert not HINT.after(3, tried(COSTS[: FEWEST - 1], times=5)).dropped
    assert not HINT.after(3, tried(MIXED)).dropped
    assert not HINT.after(3, tried(PAYS)).dropped


def test_a_hint_that_has_not_been_seen_to_pay_in_the_end_makes_room_and_one_that_pays_stays() -> None:
    long = [hint for gains in (MIXED, PAYS) if not (hint := HINT.after(4, tried(gains, times=8))).dropped]
    assert [hint.tried for hint in long] == [48]
    assert long[0].gains == pytest.approx(PAYS)
    assert not HINT.after(4, tried(MIXED, times=7)).dropped


def test_what_is_known_of_a_hint_adds_up_and_counts_each_task_once() -> None:
    known = HINT.after(1, [("a", 0.4), ("a", 0.2), ("b", -0.1)]).after(2, [("b", 0.3)])
    assert known.tried == 4
    assert known.gains == pytest.approx((0.3, 0.1))


def test_those_that_pay_come_best_first_without_what_was_hardly_tried_or_dropped() -> None:
    better = Hint("Ask.", since=1).after(1, tried([0.5] * 6))
    good, few = HINT.after(1, tried(PAYS)), Hint("Be brief.", since=2).after(2, tried([0.9] * 5))
    out, even = replace(better, text="Sing.", dropped=2), Hint("Hum.", since=1).after(1, tried([0.0] * 6))
    hints = [few, good, out, even, better]
    assert paying(hints) == [better, good]
    assert in_force(hints) == [few, good, even, better]
