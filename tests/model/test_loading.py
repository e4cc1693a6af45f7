"""A base whose files do not go together is loaded where that does not matter, and refused in a line where it does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from seal_ray.model.loading import ModelSpec, load_model
from seal_ray.model.locate import resolve
from seal_ray.types import UserError


def base(folder: Path, **changed: int) -> ModelSpec:
    """The micro-world's base, with other numbers in its config."""
    shutil.copytree(resolve("microworld"), folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    return ModelSpec(str(folder), None, "float32", 64)


def test_a_pad_token_beyond_the_vocabulary_hinders_nothing(tmp_path: Path) -> None:
    usual, odd = load_model(base(tmp_path / "usual")), load_model(base(tmp_path / "odd", pad_token_id=32_000))
    assert all(bool((mine == theirs).all()) for mine, theirs in zip(usual.parameters(), odd.parameters(), strict=True))


def test_weights_of_other_sizes_than_the_config_says_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its weights are of other sizes than its config\.json says"):
        load_model(base(tmp_path / "padded", vocab_size=320))
