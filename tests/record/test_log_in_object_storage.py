"""Nothing is added to an object, so each start of a run there has a log of its own: a kill cuts little off."""

from __future__ import annotations

import logging

import pytest

from seal_ray.config import load
from seal_ray.observe import files
from seal_ray.observe.log import logged
from seal_ray.record.storage import Store
from tests.cluster.autoscaling import reached
from tests.runs import CONFIG

ours = logging.getLogger("seal_ray.loop.trials")


def test_each_start_has_an_object_that_is_written_while_lines_come(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_EVERY", 0.01)
    config, store = load(CONFIG, ["--run.dir", bucket]), Store(bucket)
    for start in range(2):
        with logged(config) as log:
            log.begin(store)
            ours.warning("start %d", start)
            assert reached(lambda number=start: len(store.walk("logs")) == number + 1, 60)  # type: ignore[misc]
            ours.warning("the last of start %d", start)
    texts = [store.read(name).decode() for name in sorted(store.walk("logs"))]
    assert sorted("the last of start 1" in text for text in texts) == [False, True]
    assert all(text.startswith("=== ") and text.endswith("session over\n") for text in texts)


def test_storage_that_is_away_is_said_once_and_hurts_nothing(bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    gone = f"s3://nowhere/{bucket[5:]}"
    with logged(load(CONFIG, ["--run.dir", gone])) as log:
        log.begin(Store(gone))
        ours.warning("unheard")
    assert caplog.text.count("the log is not written on: ") == 1
