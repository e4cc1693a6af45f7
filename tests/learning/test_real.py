"""README's second example with the real model: what a page of these docs says is known afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.learning.account import known_here
from seal_ray.serving.answering import Answerer

PAGE = Path(__file__).parents[2] / "docs" / "glossary.md"
FACTS = {
    "What is a bank?": "many adapters",
    "What is a canary?": "short text",
    "What is a slot?": "place of one adapter",
    "What is a control?": "random",
    "What is a journal?": "record of a run",
    "What is a self-edit?": "finetuning data",
    "What does the driver run?": "outer loop",
    "What is a trial?": "fresh adapter",
    "What is an arm?": "line of the results",
    "What does an observer get told?": "event",
}


@pytest.fixture(scope="module")
def learnt(real_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the page was learnt, by the command that README names."""
    into = str(tmp_path_factory.mktemp("learnt") / "glossary")
    main(["learn", str(PAGE), "--model", str(real_model), "--into", into, "--quiet"])
    return into


def test_facts_of_the_page_are_known_and_were_not_before(learnt: str) -> None:
    model = Answerer.of(learnt)
    said, before = ({asked: model.ask(asked, 48, learnt=knows) for asked in FACTS} for knows in (True, False))
    assert sum(fact in said[asked] for asked, fact in FACTS.items()) >= 6, said
    assert sum(fact in before[asked] for asked, fact in FACTS.items()) <= 1, before


def test_it_says_what_it_knew_and_knows_in_five_lines(learnt: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["eval", learnt])
    assert len(capsys.readouterr().out.strip().splitlines()) == 5
    account = known_here(learnt)
    assert account.after["right"] >= account.before["right"] - 6
