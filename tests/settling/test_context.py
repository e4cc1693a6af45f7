"""A context shorter than a prompt is found before hours are spent."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from seal_ray.config import Config
from seal_ray.loop.preflight import look, prepare
from seal_ray.types import UserError
from tests.settling.models import model
from tests.settling.test_chats import PASSAGES, config
from tests.workers.tiny import CONTEXT, write_model

ALL = ("--domain.test", "0", "--run.rounds", "0", "--domain.options.test_fraction", "1.0")
LONG = "A long fact. " * 40


def documents(folder: Path, base: Path, *contexts: str, more: tuple[str, ...] = ()) -> Config:
    """A run that only measures, on passages of these texts."""
    made = config(folder, base, *ALL, *more)
    rows = [{**PASSAGES[0], "title": f"T{n}", "context": text} for n, text in enumerate(contexts)]
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return made


def test_a_context_shorter_than_every_prompt_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    made = documents(tmp_path, write_model(tmp_path / "model"), LONG, LONG + "More.")
    for refuse in (prepare, look):
        with pytest.raises(
            UserError, match=rf"prompts for self-edits: each takes \d+ tokens or more, .* has {CONTEXT}"
        ):
            refuse(made)
    assert not (tmp_path / "run").exists()


def test_questions_need_room_for_their_answers(tmp_path: Path) -> None:
    plain = ("--evaluation.samples", "0", "--trial.answer_tokens", "250")
    made = documents(tmp_path, write_model(tmp_path / "model"), "Short.", more=plain)
    with pytest.raises(UserError, match=r"questions: each takes .* with 250 more to come"):
        prepare(made)


def test_a_few_passages_that_are_too_long_are_counted_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = write_model(tmp_path / "model")
    config_file = base / "config.json"
    config_file.write_text(json.dumps(json.loads(config_file.read_text()) | {"max_position_embeddings": 600}))
    made = documents(tmp_path, base, "Short.", LONG)
    with caplog.at_level(logging.WARNING):
        prepare(made)
    assert "prompts for self-edits: 1 of 2 do not fit the model's context of 600 tokens" in caplog.text


def test_examples_of_a_warm_start_that_would_be_cut_are_one_line_before_anything_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, base = tmp_path / "warm.jsonl", write_model(tmp_path / "model")
    more = ("--update.warm_start", str(file), "--model.max_length", "60")
    made = documents(tmp_path, base, "Short.", more=more)
    short, long = ({"prompt": "Notes?", "completion": text} for text in ("Figs.", "Figs. " * 10))
    file.write_text("\n".join(map(json.dumps, (short, long))))
    with caplog.at_level(logging.WARNING):
        prepare(made)
    assert "warm.jsonl': 1 of 2 examples would be cut to 60 tokens, the longest of 66; raise model." in caplog.text
    file.write_text(json.dumps(long))
    for refuse in (prepare, look):
        with pytest.raises(UserError, match=r"warm.jsonl': 1 of 1 example would be cut to 60 tokens"):
            refuse(made)
    assert not (tmp_path / "run").exists()


def test_nothing_is_said_of_a_tokenizer_that_only_the_workers_can_read(tmp_path: Path) -> None:
    base = model(tmp_path / "model", max_position_embeddings=64)
    prepare(documents(tmp_path, base, LONG))
    (base / "tokenizer.json").write_text("{}")
    prepare(documents(tmp_path, base, LONG))
