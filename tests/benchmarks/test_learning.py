"""What documents of invented facts teach is measured by questions whose answers are in them."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from benchmarks.learning import DOCUMENTS, measure, questions, right, table
from seal_ray.observe.progress import Silent
from seal_ray.types import UserError
from tests.learning.parts import QUESTIONS, settings
from tests.servers import serving

NAMES = sorted(file.stem for file in DOCUMENTS.glob("*.md"))


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_that_is_asked_is_in_its_document_and_in_no_question(name: str) -> None:
    text, asked = (DOCUMENTS / f"{name}.md").read_text(), questions(name)
    assert len(asked) == 10
    for question, gold in asked:
        assert right(text, gold), question
        assert not any(right(other, gold) for other, _ in asked if gold != "Marigold"), question


def test_an_answer_is_right_if_the_words_of_the_fact_are_in_it() -> None:
    assert right("It takes about 50 minutes, I think.", "fifty minutes|50 minutes")
    assert right("The Marigold.", "Marigold")
    assert not right("Marigolds", "Marigold")
    assert not right("", "Marigold")


@pytest.mark.slow
def test_a_document_is_learnt_once_and_asked_three_ways(tmp_path: Path) -> None:
    runpy.run_path(str(Path(__file__).parents[2] / "jobs/tiny_model.py"))["make"](str(tmp_path / "tiny"), 64, 1)
    config = tmp_path / "tiny" / "config.json"  # a page has more bytes than the model has positions
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 4096}))
    with serving(QUESTIONS) as writer:
        given = (["ferry"], str(tmp_path / "tiny"), str(tmp_path / "into"), settings(writer.url), Silent())
        (found,), (again,) = measure(*given), measure(*given)
    assert found.asked == 10
    assert max(found.base, found.learnt) <= 10
    assert again.seconds < found.seconds, "nothing is learnt twice"
    assert (again.base, again.reading, again.learnt) == (found.base, found.reading, found.learnt)
    assert f"ferry           {found.base}/10" in table([found])


def test_a_document_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="moon: no such document; there are ferry, library, observatory, orchard, "):
        measure(["moon"], "", str(tmp_path), [], Silent())
