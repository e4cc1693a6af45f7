"""The bench of a round tells stages, overlap and waiting from when each call began and ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.round import bench_round, draw, of_spans, table
from seal_ray.observe.progress import progress
from seal_ray.types import UserError
from tests.runs import CONFIG, SMALL

SPANS = [
    ("sample", "s", 100.0, 104.0),
    ("sample", "s", 102.0, 110.0),
    ("trial", "t", 104.0, 112.0),
    ("trial", "t", 115.0, 120.0),
    ("update", "t", 122.0, 130.0),
    ("trial", "t", 131.0, 140.0),
]


def test_a_stage_is_as_long_as_any_call_of_it_and_alone_while_no_other_is() -> None:
    found = of_spans(SPANS)
    assert found.seconds == 30.0
    sample, trial, update = (found.stages[name] for name in ("sample", "trial", "update"))
    assert (sample.calls, sample.began, sample.ended, sample.under_way, sample.alone) == (2, 0.0, 10.0, 10.0, 4.0)
    assert (trial.calls, trial.under_way, trial.alone) == (2, 13.0, 7.0)
    assert (update.began, update.under_way, update.alone) == (22.0, 8.0, 8.0)
    assert found.nothing == 5.0
    assert found.idle["s"] == pytest.approx(2 / 3)


def test_a_round_without_an_update_is_said_to_have_none() -> None:
    with pytest.raises(UserError, match="no update"):
        of_spans(SPANS[:3])


@pytest.mark.usefixtures("forked_workers")
def test_a_real_round_is_timed_and_drawn(tmp_path: Path) -> None:
    found = bench_round(str(CONFIG), SMALL, progress(quiet=True))
    assert json.loads(json.dumps(found.as_json()))["stages"].keys() == {"sample", "trial", "update"}
    assert 0 < found.stages["trial"].calls <= 12 + 4  # equal self-edits are tried once; each task is asked untrained
    assert found.stages["sample"].calls == 12
    assert all(0 <= stage.alone <= stage.under_way <= found.seconds for stage in found.stages.values())
    assert "the update" in table(found)
    draw(found, str(tmp_path / "round.html"))
    page = (tmp_path / "round.html").read_text()
    assert "<svg" in page
    assert "trainer" in page
