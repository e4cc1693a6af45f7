"""Graders are held to recorded verdicts from the command line, and so is a model of one's own as judge."""

from __future__ import annotations

import json
import logging
import runpy
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.ops.judged import LOCAL

VERDICTS = [
    ("Who lit the lanterns?", "Odo", "It was Odo.", "Mara", True, False),
    ("When does it open?", "in May", "May", "in June", True, False),
    ("What is it made of?", "tin", "wood", "tin", False, True),
]
NAMES = ("question", "answer", "adapter_answer", "baseline_answer", "adapter_correct", "baseline_correct")


@pytest.fixture
def records(tmp_path: Path) -> str:
    """Two passages with three questions each."""
    completion = {"text": "A note.", "questions": [dict(zip(NAMES, row, strict=True)) for row in VERDICTS]}
    article = {"title": "Lanterns", "context": "Odo lit them.", "completions": [completion]}
    (tmp_path / "record.json").write_text(json.dumps({"articles": [article, article | {"title": "More"}]}))
    return str(tmp_path / "record.json")


def graded(capsys: pytest.CaptureFixture[str], records: str, *more: str) -> dict[str, float]:
    with pytest.raises(SystemExit, match="0"):
        main(["grade", "--records", records, "--json", *more])
    found: dict[str, float] = json.loads(capsys.readouterr().out)
    return found


def test_the_first_passages_may_be_enough(records: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole, part = (graded(capsys, records, *more) for more in ((), ("--passages", "1")))
    assert (whole["n"], part["n"]) == (12, 6)
    assert whole["agreement"] == part["agreement"] == 1


def test_a_model_of_ones_own_judges_as_a_runs_base_would(
    records: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "seal_ray")
    runpy.run_path(str(Path(__file__).parents[2] / "jobs/tiny_model.py"))["make"](str(tmp_path / "tiny"), 64, 1)
    found = graded(capsys, records, "--grader", LOCAL, "--model", str(tmp_path / "tiny"))
    assert found["n"] == 12
    assert found["agreement"] == 0.5, "what is neither yes nor no is a no"
    assert "12 of 12 prompts answered" in caplog.text


@pytest.mark.parametrize("more", [("--grader", LOCAL), ("--model", "tiny")])
def test_a_judge_without_a_model_and_a_model_that_does_not_judge_are_refused(
    records: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["grade", "--records", records, *more])
    assert "go together" in capsys.readouterr().err
