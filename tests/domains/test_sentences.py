"""What a passage says, sentence by sentence, without what only lays it out."""

from __future__ import annotations

from seal_ray.domains.knowledge.sentences import sentences

PAGE = """\
The crossing is eleven kilometres long and takes fifty
minutes in calm weather. The ferry is called the
Marigold.

- The captain, who came from Port Ellery, is called
  Hester Quill.
- Goats travel free.
1. Buy a ticket. Keep it.

> Nobody lives there.

---
"""
TABLE = """\
| who | plays | since |
|---|:---:|---|
| Leona Varga | the organ | 1998 |
| Bram | | 2004 |

| slot | the place of one adapter |
"""
CODE = """\
Give it so:
```
ferry --to Ostrey
- no item
```
"""


def test_lines_that_were_broken_to_fit_a_page_are_joined_and_items_lose_their_marks() -> None:
    assert sentences(PAGE) == [
        "The crossing is eleven kilometres long and takes fifty minutes in calm weather.",
        "The ferry is called the Marigold.",
        "The captain, who came from Port Ellery, is called Hester Quill.",
        "Goats travel free.",
        "Buy a ticket.",
        "Keep it.",
        "Nobody lives there.",
    ]


def test_lines_that_ended_before_the_page_did_stay_apart() -> None:
    opening = "Monday to Friday from nine in the morning until five\nSaturday closed\nSunday from ten to twelve"
    assert sentences(opening) == opening.splitlines()
    verse = "The sea is wide\nthe boat is small\nand home is far"
    assert sentences(verse) == verse.splitlines()


def test_a_row_of_a_table_says_what_its_columns_are_called() -> None:
    assert sentences(TABLE) == [
        "Leona Varga: plays the organ, since 1998",
        "Bram: since 2004",
        "slot: the place of one adapter",
    ]
    assert sentences("| word | meaning |\n|---|---|\n| slot | a place |") == ["slot: a place"]


def test_code_stays_line_by_line() -> None:
    assert sentences(CODE) == ["Give it so:", "ferry --to Ostrey", "- no item"]


def test_code_with_marks_of_code_in_it_stays_line_by_line_to_its_own_end() -> None:
    text = "````\n```\nx = 1\n```\n~~~\n````\nA heron\nstands. It waits."
    assert sentences(text) == ["```", "x = 1", "```", "~~~", "A heron", "stands.", "It waits."]


def test_sentences_end_in_other_scripts_too() -> None:
    assert sentences("One. Two!\n- three\n一二。三四。") == ["One.", "Two!", "three", "一二。", "三四。"]
    assert sentences("राम घर गया। वह खुश है। كيف؟ هكذا.") == ["राम घर गया।", "वह खुश है।", "كيف؟", "هكذا."]
