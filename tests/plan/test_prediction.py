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
from tests.runs import CONFIG

pytestmark = pytest.mark.usefixtures("local_ray", "forked_workers")


def sized(folder: Path, tasks: int, *more: str) -> Config:
    size = ["--domain.train", str(tasks), "--domain.test", str(tasks), "--run.rounds", "1", "--evaluation.samples", "1"]
    return load(CONFIG, [*size, "--run.dir", str(folder), *more])


def foretold_and_measured(folder: Path) -> tuple[float, float]:
    """Seconds of a run, by the journal of a smaller one and by the clock."""
    run(sized(folder / "small", 6), Silent())
    larger = sized(folder / "larger", 14, "--run.seed", "2")
    found = predict(larger, Hardware(), basis_from(str(folder / "small"), larger))
    begun = time.monotonic()
    run(larger, Silent())
    return found.seconds, time.monotonic() - begun


def test_the_journal_of_a_small_run_foretells_how_long_a_larger_one_takes(tmp_path: Path) -> None:
    # At rest they are within a fifth (docs/results.md). What else the machine does may come or go between the two
    # runs, which says nothing of the prediction: then both are done anew.
    found = [foretold_and_measured(tmp_path / "1")]
    while found[-1][0] != pytest.approx(found[-1][1], rel=0.5) and len(found) < 4:
        found.append(foretold_and_measured(tmp_path / f"{len(found) + 1}"))
    assert found[-1][0] == pytest.approx(found[-1][1], rel=0.5), found

    other = sized(tmp_path / "other", 14, "--trial.optim.epochs", "3")
    with pytest.raises(UserError, match=r"ran with other settings \(trial.optim.epochs: 15 -> 3\)"):
        basis_from(str(tmp_path / "1" / "small"), other)
