"""What an engine must be able to hold, worked out before it is started."""

from __future__ import annotations

import pytest

from seal_ray.config import load
from seal_ray.workers.sampler import EngineSpec
from tests.runs import CONFIG

RANKS = ("--run.rounds", "2", "--update.lora.rank", "8", "--trial.lora.rank", "4", "--generated.rank", "64")


@pytest.mark.parametrize(
    ("method", "answers", "rank"),
    [("generated-start", "vllm", 64 + 4), ("generated-start", "bank", 16), ("passage", "vllm", 16 + 4)],
)
def test_an_engine_that_answers_holds_what_a_network_writes_with_what_is_trained_on_top(
    method: str, answers: str, rank: int
) -> None:
    engine = ["--sampling.engine", "vllm", "--trial.eval_engine", answers, "--evaluation.methods", f'["{method}"]']
    assert EngineSpec.of(load(CONFIG, [*RANKS, *engine])).max_rank == rank
