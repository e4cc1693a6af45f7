"""A run says with what it was computed, and when that changed."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from seal_ray import __version__
from seal_ray.record import environment
from seal_ray.record.storage import Store


def test_an_upgrade_is_recorded_and_said_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(str(tmp_path))
    environment.record(store)
    environment.record(store)
    assert not caplog.records
    (first,) = json.loads(store.read(environment.FILE))
    assert first["seal_ray"] == __version__
    assert {"torch", "transformers", "ray", "processor flags"} <= first.keys()
    monkeypatch.setattr(environment, "__version__", "9.0.0")
    with caplog.at_level(logging.WARNING):
        environment.record(store)
    assert f"seal_ray {__version__} -> 9.0.0" in caplog.text
    assert [each["seal_ray"] for each in json.loads(store.read(environment.FILE))] == [__version__, "9.0.0"]
