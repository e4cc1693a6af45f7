"""The cutting of self-edits into training texts."""

import json

from seal_ray.domains.knowledge.texts import training_texts
from tests.shared import SHARED, needs_shared


@needs_shared
def test_every_recorded_completion_gives_the_recorded_training_texts() -> None:
    cases = [json.loads(line) for line in (SHARED / "golden/train_sequences.jsonl").open(encoding="utf-8")]
    assert len(cases) == 480
    for number, case in enumerate(cases):
        texts = training_texts(
            case["title"],
            case["context"],
            case["completion"],
            split_newlines=case["split_newlines"],
            pairs=case["style"] == "self-qa",
        )
        assert texts == case["expected"], f"case {number}"


def test_sections_are_cut_apart_and_the_passage_comes_last() -> None:
    whole = training_texts("T", " C ", "one\ntwo\n---\nthree", split_newlines=False)
    assert whole == ["T\none\ntwo", "T\nthree", "T\nC"]
    assert training_texts("T", "C", "one\n\ntwo\n---\nthree") == ["T\none", "T\ntwo", "T\nthree", "T\nC"]


def test_a_chatty_first_line_is_dropped_only_before_item_one() -> None:
    assert training_texts("T", "C", "Sure, a list:\n\n1. a\n2. b") == ["T\n1. a", "T\n2. b", "T\nC"]
    assert training_texts("T", "C", "1. a\n1. b") == ["T\n1. a", "T\n1. b", "T\nC"]
    assert training_texts("T", "C", "A fact.\n2. b") == ["T\nA fact.", "T\n2. b", "T\nC"]


def test_an_answer_stays_with_its_question() -> None:
    completion = "Who?\nAnswer: Ann.\n\nQuestion 2: When?\nAnswer: 1900."
    assert training_texts("T", "C", completion, pairs=True) == [
        "T\nQuestion 1: Who?\nAnswer: Ann.",
        "T\nQuestion 2: When?\nAnswer: 1900.",
        "T\nC",
    ]


def test_an_empty_completion_leaves_the_passage_alone() -> None:
    for completion in ("", " \n ", "---", "\n---\n"):
        assert training_texts("T", "C", completion) == ["T\nC"]
