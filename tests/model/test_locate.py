"""A base model is found where the config says, and reaches a node once."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seal_ray.model.locate import local_copy, resolve
from seal_ray.types import UserError


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped base as a folder in a storage, with files beside it that are none of a run's business."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "bucket" / "base"
    shutil.copytree(resolve("microworld"), folder)
    (folder / "modeling.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    return folder


def test_a_model_in_object_storage_is_copied_once_for_all_workers_of_a_node_without_code_or_pickles(
    stored: Path,
) -> None:
    url = stored.as_uri()
    assert resolve(url) == url
    with ThreadPoolExecutor(4) as workers:
        found = set(workers.map(local_copy, [url] * 8))
    (folder,) = map(Path, found)
    made = {path: path.stat().st_ino for path in folder.iterdir()}
    wanted = {path.name for path in Path(resolve("microworld")).iterdir()}
    assert {path.name for path in made} == wanted
    assert (folder / "model.safetensors").read_bytes() == (stored / "model.safetensors").read_bytes()
    assert local_copy(url) == str(folder)
    assert {path: path.stat().st_ino for path in folder.iterdir()} == made


def test_a_model_that_changed_in_its_storage_is_copied_again(stored: Path) -> None:
    before = local_copy(stored.as_uri())
    (stored / "config.json").write_text("{}")
    after = local_copy(stored.as_uri())
    assert after != before
    assert (Path(after) / "config.json").read_text() == "{}"


def test_a_copy_that_was_cut_short_is_begun_again(stored: Path) -> None:
    folder = Path(local_copy(stored.as_uri()))
    part = folder.rename(folder.with_suffix(".part"))
    (part / "model.safetensors").write_bytes(b"half")
    assert local_copy(stored.as_uri()) == str(folder)
    assert (folder / "model.safetensors").read_bytes() == (stored / "model.safetensors").read_bytes()


def test_a_storage_without_a_model_is_one_line(tmp_path: Path, stored: Path) -> None:
    (stored / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"is no model: it needs a config.json and \*.safetensors weights"):
        resolve(stored.as_uri())
    with pytest.raises(UserError, match="cannot be read"):
        resolve((tmp_path / "nowhere").as_uri())
    with pytest.raises(UserError, match="cannot be read"):
        resolve("nonsense://bucket/base")
