"""A run in one process: the same run, on a machine that has no Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from seal_ray.config import IN_PROCESS, load
from seal_ray.types import UserError
from tests.runs import CONFIG

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


def test_only_the_bank_answers_in_process() -> None:
    with pytest.raises(UserError, match=r'"in-process" needs trial\.eval_engine = "bank"'):
        load(CONFIG, ["--workers.address", IN_PROCESS, "--trial.eval_engine", "vllm"])
