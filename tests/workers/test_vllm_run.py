"""A whole run sampled by real vLLM engines: two of them, two policies, and one engine killed on the way."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest

from seal_ray.journal import Journal
from seal_ray.run import run
from seal_ray.storage import Store
from seal_ray.ui import Silent
from tests.runs import results, small_run

pytest.importorskip("vllm", reason="vLLM is not installed here")
pytestmark = pytest.mark.usefixtures("local_ray")


class KillsAnEngine(Silent):
    """Kills one sampler with -9 when this many self-edits of the first round are there."""

    def __init__(self, after: int) -> None:
        self._left, self.killed = after, 0

    def advance(self, stage: str, by: int = 1) -> None:
        if stage != "round 1: self-edits":
            return
        self._left -= 1
        if self._left == 0:
            names = {p.pid: " ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])}
            mine = {child.pid for child in psutil.Process().children(recursive=True)}
            self.killed = min(pid for pid, name in names.items() if pid in mine and "ray::Sampler" in name)
            os.kill(self.killed, signal.SIGKILL)


def test_a_run_on_two_engines_survives_the_death_of_one_and_misses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "vllm"
    engines = ["--sampling.engine", "vllm", "--workers.samplers", "2", "--run.rounds", "1"]
    progress = KillsAnEngine(after=3)
    run(small_run(folder, *engines), progress)
    assert progress.killed
    found = results(folder)
    edits = list(Journal(Store(str(folder))).rows("self_edits"))
    assert Counter((row["stage"], row["policy"]) for row in edits) == {
        ("round 1", 0): 12,
        ("evaluation", 0): 4,
        ("evaluation", 1): 4,  # written by the hot-loaded policy, after its canary
    }
    assert found["planned"]
    assert set(found["planned"].values()) <= found["rewards"].keys()
    assert all(reward is not None for reward, _ in found["rewards"].values())
