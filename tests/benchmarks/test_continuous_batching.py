"""The bench of refilled slots measures both kinds of static batches beside them."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import bench
from benchmarks.continuous_batching import CONTINUOUS, IDLE, PADDED
from seal_ray.types import UserError

WORDS = ["batching", "--shape", "qwen2.5-tiny", "--slots", "2", "--trials", "3", "--pairs", "1"]


@pytest.mark.slow
def test_the_command_says_what_each_way_took(capsys: pytest.CaptureFixture[str]) -> None:
    bench([*WORDS, "--json"], result_action="return_value")
    found = {name: way for name, (way,) in json.loads(capsys.readouterr().out).items()}
    assert list(found) == [CONTINUOUS, IDLE, PADDED]
    assert found[CONTINUOUS]["steps"] == found[IDLE]["steps"] < found[PADDED]["steps"]
    assert found[CONTINUOUS]["passes"] < found[IDLE]["passes"] == found[PADDED]["passes"]
    bench(WORDS, result_action="return_value")
    said = capsys.readouterr().out
    assert said.startswith("3 trials of one epoch in 2 slots\n")
    assert all(name in said for name in found)


def test_what_it_cannot_measure_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="--shape 'qwen9' is unknown; known: "):
        bench(["batching", "--shape", "qwen9"], result_action="return_value")
