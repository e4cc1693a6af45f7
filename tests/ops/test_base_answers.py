"""The doctor asks the base about a passage in its prompt, and says in plain words what is wrong with what came back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.config import Config
from seal_ray.ops.base_answers import PASSAGE, Asked, ask, trouble
from seal_ray.ops.doctor import Check, examine
from seal_ray.plain import UNSEEN
from seal_ray.settling import settle
from tests.settling.models import model
from tests.settling.test_chats import config
from tests.workers.tiny import write_model

RIGHT = tuple(gold for _, gold in PASSAGE.questions)
ENDED, RAN_ON = (False,) * 3, (True,) * 3
LOCAL = ("--workers.address", "in-process", "--model.dtype", "float32", "--trial.answer_tokens", "9")


def roomy(folder: Path) -> Path:
    """A model of random weights over bytes, which has room for the passage."""
    file = write_model(folder) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"max_position_embeddings": 1024}))
    return folder


def answers(config: Config) -> Check | None:
    return next((check for check in examine(config) if check.name == "answers"), None)


@pytest.mark.slow
def test_a_base_of_random_weights_is_asked_and_found_to_run_on(tmp_path: Path) -> None:
    found = answers(config(tmp_path, roomy(tmp_path / "model"), *LOCAL))
    assert found
    assert not found.fine
    assert "does not stop where its answer ends: it is asked as its files say" in found.advice
    assert found.line.count("“") == 3
    assert "\n" not in found.line
    assert not UNSEEN.search(found.line)


@pytest.mark.slow
def test_what_the_base_is_asked_is_what_the_run_would_ask(tmp_path: Path) -> None:
    asked = ask(settle(config(tmp_path, roomy(tmp_path / "model"), *LOCAL)).config)
    assert len(asked.answers) == len(asked.cut) == len(PASSAGE.questions)
    assert not any("\n" in answer for answer in asked.answers)  # a base's answer ends with its line


@pytest.mark.slow
def test_a_base_that_cannot_be_asked_says_why(tmp_path: Path) -> None:
    settled = settle(config(tmp_path, roomy(tmp_path / "model"), *LOCAL)).config
    long = replace(settled, trial=replace(settled.trial, answer_tokens=4000))
    found = answers(long)
    assert found
    assert not found.fine
    assert "positions" in found.found


def test_answers_that_are_answers_are_no_trouble_and_it_is_said_how_many_are_right(tmp_path: Path) -> None:
    base = config(tmp_path, model(tmp_path / "model"))
    for said, hint in ((RIGHT, ""), (("It is Mara Tollen.", "red", "no"), "1 of 3 are right"), (("x",) * 3, "none is")):
        asked = Asked(said, ENDED)
        assert trouble(base, asked) == ""
        assert asked.hint.startswith(hint)
    assert "“Mara Tollen”" in Asked(RIGHT, ENDED).line


CAUSES = {
    "an instruct model that talks on": ({}, "", "ask for a few words in domain.options.question"),
    "an instruct model without its template": (
        {"eos": "<|im_end|>"},
        "chat = false",
        "asked without its chat template",
    ),
    "a base in chats": ({"eos": "<|endoftext|>"}, "chat = true", "looks like a base asked in chats"),
    "a base without a cue": (
        {"eos": "<|endoftext|>"},
        'question = "{question}"',
        "leave domain.options.question empty",
    ),
    "a model that does not answer": ({"template": None}, "", "a model that answers no questions"),
}


@pytest.mark.parametrize("what", CAUSES)
@pytest.mark.parametrize("asked", [Asked(("", " ", "\n"), ENDED), Asked(("a b c",) * 3, RAN_ON)])
def test_the_likely_cause_is_named_with_the_setting_to_turn(tmp_path: Path, what: str, asked: Asked) -> None:
    kind, options, cause = CAUSES[what]
    found = settle(config(tmp_path, model(tmp_path / "model", **kind), options=options)).config
    said = trouble(found, asked)
    assert said.startswith("the base answers nothing: " if asked.cut == ENDED else "the base does not stop")
    assert cause in said


def test_what_a_model_wrote_is_shown_without_what_a_terminal_obeys() -> None:
    line = Asked(("\x1b[2J\u202ered", "a\nb", "x" * 500), (False, False, True)).line
    assert not UNSEEN.search(line)
    assert "“[2Jred”" in line
    assert "… (cut off)”" in line
    assert len(line) < 500
