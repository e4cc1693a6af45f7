"""A large file is read once, whatever the clocks say; one that was just written is read again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from seal_ray.model import fingerprint

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprint, "_LARGE", 1)


def large(folder: Path, age: float) -> Path:
    """A file that was written so long ago, by the file system's clock."""
    file = folder / "weights"
    file.write_bytes(b"weights")
    os.utime(file, (time.time() - age,) * 2)
    return file


def remembered() -> int:
    return len(list(fingerprint._cache().glob("*")))


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    assert fingerprint.of_file(large(tmp_path, age=0.0)) == fingerprint.of_file(large(tmp_path, age=HOUR))
    assert remembered() == 0, "its state changed a moment ago, whatever it says of its content"


def test_a_file_that_lay_still_while_it_was_read_is_remembered_though_the_clock_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_SETTLED", 0.0)  # which any reading takes
    file = large(tmp_path, age=-HOUR)
    found = fingerprint.of_file(file)
    assert remembered() == 1
    file.write_bytes(b"others!")
    assert fingerprint.of_file(file) != found, "a later change shows in its times"
