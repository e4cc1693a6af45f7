"""The plan against a real run of the micro-world, on this machine's CPU."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from seal_ray.config import Config, load
from seal_ray.plan import Hardware, predict
from seal_ray.plan.predict import basis_from
from seal_ray.run import run
from seal_ray.types import UserError
from seal_ray.ui import Silent
from tests.runs import CONFIG

pytestmark = pytest.mark.usefixtures("local_ray", "forked_workers")


def sized(folder: Path, tasks: int, *more: str) -> Config:
    size = ["--domain.train", str(tasks), "--domain.test", str(tasks), "--run.rounds", "1", "--evaluation.samples", "1"]
    return load(CONFIG, [*size, "--run.dir", str(folder), *more])


def test_the_journal_of_a_small_run_foretells_how_long_a_larger_one_takes(tmp_path: Path) -> None:
    run(sized(tmp_path / "small", 6), Silent())
    larger = sized(tmp_path / "larger", 14, "--run.seed", "2")
    found = predict(larger, Hardware(), basis_from(str(tmp_path / "small"), larger))
    begun = time.monotonic()
    run(larger, Silent())
    measured = time.monotonic() - begun
    # On a machine at rest they are within a fifth (README); here other tests come and go meanwhile.
    assert found.seconds == pytest.approx(measured, rel=0.5)

    other = sized(tmp_path / "other", 14, "--trial.optim.epochs", "3")
    with pytest.raises(UserError, match=r"ran with other settings \(trial.optim.epochs: 15 -> 3\)"):
        basis_from(str(tmp_path / "small"), other)
