"""A run in one process: the same run, on a machine that has no Ray."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seal_ray.config import IN_PROCESS, load
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.types import UserError
from tests.runs import CONFIG, small_run

WITHOUT = """
import sys
for name in ("ray", "vllm", "tensorboard", "obstore", "jinja2", "cyclopts"):
    sys.modules[name] = None  # importing it is an error
from tests.runs import small_run
from seal_ray.loop.run import run
print(sorted(run(small_run(sys.argv[1], "--workers.address", "in-process", "--run.rounds", "1"))))
"""


@pytest.mark.slow
def test_a_run_in_one_process_needs_no_ray(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT, str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "after round 1" in done.stdout


def test_a_clock_that_is_set_meanwhile_stretches_nothing_that_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes back by two hours at each look: a timeline, a cost, or trials a second would be wrong without a word."""
    usual, read = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: usual() - 7200 * next(read))
    began = time.monotonic()
    nothing = ["--run.rounds", "0", "--evaluation.samples", "0", "--evaluation.baselines", '["base"]']
    run(small_run(tmp_path / "run", "--workers.address", IN_PROCESS, *nothing), Silent())
    journal = Journal(Store(str(tmp_path / "run")))
    whole = [row["end"] - row["start"] for row in journal.rows("spans")]
    whole += [row["seconds"] for row in journal.rows("outcomes")]
    assert 0 < min(whole) <= max(whole) < time.monotonic() - began


def test_only_the_bank_answers_in_process() -> None:
    with pytest.raises(UserError, match=r'"in-process" needs trial\.eval_engine = "bank"'):
        load(CONFIG, ["--workers.address", IN_PROCESS, "--trial.eval_engine", "vllm"])
