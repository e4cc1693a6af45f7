"""The plan against a real run of the micro-world, on this machine's CPU."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from seal_ray.config import Config, load
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.plan import Hardware, predict
from seal_ray.plan.predict import basis_from
from seal_ray.types import UserError
from tests.plan.slowed import slowed
from tests.runs import CONFIG

pytestmark = pytest.mark.usefixtures("local_ray", "forked_workers")


def sized(folder: Path, tasks: int, *more: str) -> Config:
    size = ["--domain.train", str(tasks), "--domain.test", str(tasks), "--run.rounds", "1", "--evaluation.samples", "1"]
    return load(CONFIG, [*size, "--run.dir", str(folder), *more])


def predicted_and_measured(folder: Path, workers: int) -> tuple[float, float]:
    """Seconds of a run, by the journal of a smaller one and by the clock, both as on a machine of their own."""
    with slowed(workers) as smaller:
        run(sized(folder / "small", 6), Silent())
    config = sized(folder / "larger", 14, "--run.seed", "2")
    predicted = predict(config, Hardware(), basis_from(str(folder / "small"), config))
    begun = time.monotonic()
    with slowed(workers) as larger:
        run(config, Silent())
    return predicted.seconds / smaller.factor, (time.monotonic() - begun) / larger.factor


def test_the_journal_of_a_small_run_predicts_how_long_a_larger_one_takes(
    tmp_path: Path, forking: tuple[str, int]
) -> None:
    # At rest they are within a fifth (docs/results.md).
    predicted, measured = predicted_and_measured(tmp_path, forking[1])
    assert predicted == pytest.approx(measured, rel=0.5)

    other = sized(tmp_path / "other", 14, "--trial.optim.epochs", "3")
    with pytest.raises(UserError, match=r"ran with other settings \(trial.optim.epochs: 15 -> 3\)"):
        basis_from(str(tmp_path / "small"), other)
