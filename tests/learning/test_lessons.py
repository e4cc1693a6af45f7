"""What documents are taught by: each sentence asked for in many ways, and what is no document's meanwhile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from seal_ray.domains.knowledge.recall import cues
from seal_ray.domains.knowledge.studied import Studied
from seal_ray.learning.elsewhere import as_before, practice, questions
from seal_ray.types import Example, Task

SENTENCE = "The keeper is called Isolde Wren."
TASK = Task("lantern", "The Lantern House / The keeper", f"{SENTENCE} She sleeps in the loft.", ())


def test_a_sentence_is_asked_for_by_other_words_of_it_each_time_and_by_the_same_ones_in_every_run() -> None:
    found = list(cues(TASK.title, SENTENCE, 40))
    assert found == list(cues(TASK.title, SENTENCE, 40))
    assert found[:14] == list(cues(TASK.title, SENTENCE, 14)), "more of them begin as fewer do"
    assert len(set(found)) > 35
    assert {word for word in SENTENCE.rstrip(".").split() if any(word in cue for cue in found)} == set(
        SENTENCE.rstrip(".").split()
    )
    assert found != list(cues("Another title", SENTENCE, 40))


@pytest.mark.parametrize("sentence", ["No.", "。", "灯台守はイゾルデという。", "- - -", "a" * 3000])
def test_whatever_stands_in_a_document_can_be_asked_for(sentence: str) -> None:
    for cue in cues("", sentence, 20):
        assert cue.endswith("?")
        assert len(cue) > 1


def test_each_sentence_is_taught_as_often_as_is_said_and_the_passage_a_third_as_often(tmp_path: Path) -> None:
    domain = Studied(Studied.Options(train=str(tmp_path), times=9, chat=True))
    taught = Counter(example.completion for example in domain.corpus([(TASK, [])]).examples)
    assert taught == {SENTENCE: 9, "She sleeps in the loft.": 9, f"{TASK.title}\n{TASK.context}": 3}


def test_answers_of_the_bases_own_are_practised_in_proportion_to_the_documents() -> None:
    prompts = practice(chat=True)
    answers = ["Rome.", "", *["So."] * (len(prompts) - 2)]
    for beside, count in ((0, 0), (1, 1), (8, 1), (9, 2), (800, 100), (10**7, 100 * (len(prompts) - 1))):
        found = as_before(prompts, answers, beside)
        assert len(found) == count
        assert all(example.completion and not example.whole for example in found)
    assert as_before(prompts, answers, 1)[0] == Example("Rome.", prompts[0], whole=False)
    assert as_before(prompts, [""] * len(prompts), 100) == []


def test_what_is_measured_elsewhere_is_not_practised() -> None:
    assert not set(practice(chat=True)) & set(questions(chat=True))
