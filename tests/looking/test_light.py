"""Commands that only look at what is on record load nothing of what does the work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.build import finished

WORK = (
    "seal_ray.loop.session",
    "seal_ray.learning.learn",
    "seal_ray.serving",
    "seal_ray.observe",
    "seal_ray.endpoints",
)
HEAVY = ("torch", "ray", "transformers", "httpx", "jinja2")

LOOKING = {
    "ls": ["ls", "{below}"],
    "watch": ["watch", "{run}", "--once"],
    "explain": ["explain", "{run}"],
    "eval": ["eval", "{run}"],
    "compare": ["compare", "{run}", "{run}"],
    "adapters list": ["adapters", "list", "{run}"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("light") / "run"
    finished(str(folder))
    return folder


@pytest.mark.parametrize("command", LOOKING)
def test_looking_loads_nothing_of_what_does_the_work(run: Path, command: str) -> None:
    arguments = [each.format(below=run.parent, run=run) for each in LOOKING[command]]
    code = (
        "import contextlib, sys; from seal_ray.cli.app import main\n"
        f"with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr): main({arguments!r})\n"
        f"print([name for name in {WORK + HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert done.stderr, "it said what there is"
    assert "seal-ray: " not in done.stderr
