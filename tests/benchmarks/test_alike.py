"""The bench of shared beginnings trains the texts that `learn` teaches, both ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.alike import measure
from tests.serving.conftest import TEMPLATE, literate


@pytest.mark.slow
def test_an_epoch_of_a_document_is_timed_both_ways(tmp_path: Path) -> None:
    literate(tmp_path / "tiny")
    config = tmp_path / "tiny" / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": TEMPLATE}))
    found = measure(str(tmp_path / "tiny"), "ferry", adapters=2, pairs=1)
    assert found.texts > 20
    assert found.ratio == pytest.approx(found.each_ms / found.once_ms)
    assert f"{found.texts} texts of {found.tokens} tokens, 2 adapters" in found.line()
