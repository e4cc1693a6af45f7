"""A whole run needs torch, transformers, peft, numpy, pyarrow, safetensors and what these need themselves, where it
is made in Python and its workers are in the process."""

from pathlib import Path

import pytest

from tests.bare import run_bare

RUN = """
import seal_ray
from seal_ray.config import Config, DomainSection, Model, Run, Sampling, TrialSection, Update, Workers
from seal_ray.types import LoraSpec, OptimSpec

config = Config(
    run=Run(dir=sys.argv[2], rounds=1),
    model=Model(path="microworld", dtype="float32"),
    domain=DomainSection(name="microworld", options={"directions": ["forward"]}, train=4, test=2),
    sampling=Sampling(per_task=3, max_tokens=100),
    trial=TrialSection(lora=LoraSpec(8, 8.0), optim=OptimSpec(2e-2, 10, 64), seeds=2),
    update=Update(lora=LoraSpec(8, 8.0), optim=OptimSpec(1e-3, 1, 4)),
    workers=Workers(address="in-process", slots=8),
)
first = seal_ray.run(config)
print(sorted(first))
assert seal_ray.run(config) == first  # found again, as it was recorded
"""

GRADING = """
import asyncio
from seal_ray import grading
from seal_ray.grading.offline import Offline

item = grading.Item("Who wrote Hamlet?", "Shakespeare", "William Shakespeare wrote it.")
for grader in (Offline(Offline.Options()), grading.load("offline")):
    (said,) = asyncio.run(grader.grade([item]))
    assert said > 0.5
print(said)
"""


@pytest.mark.slow
def test_a_run_is_done_and_found_again_where_nothing_else_is_installed(tmp_path: Path) -> None:
    assert "after round 1" in run_bare(RUN, str(tmp_path / "run"))


def test_answers_are_graded_where_nothing_else_is_installed() -> None:
    assert float(run_bare(GRADING)) > 0.5
