"""Eight passages of the micro-world in turn: kept apart, stacked, and mixed; once for all who look at its adapters."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seal_ray.config import load
from tests.in_process import run_counted

STREAMS = Path(__file__).parents[2] / "jobs/streams.toml"
ONE_ORDER = [
    *("--continual.sequences", "1", "--continual.ask_every", "8", "--update.max_rank", "0"),
    *("--continual.ways", '["library", "kl", "joint"]', "--model.dtype", "float32"),
    *("--trial.optim.epochs", "24"),
]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, for those who leave it as it is."""
    folder = tmp_path_factory.mktemp("in-turn") / "run"
    run_counted(load(STREAMS, [*ONE_ORDER, "--run.dir", str(folder)]))
    return folder


@pytest.fixture
def mine(whole: Path, tmp_path: Path) -> Path:
    """A copy of the run, for one who changes it."""
    return Path(shutil.copytree(whole, tmp_path / "run"))
