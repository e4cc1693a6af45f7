"""Which Ray a run joins."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from seal_ray.config import load
from seal_ray.types import UserError
from seal_ray.workers.ray_connection import connect
from tests.cluster.autoscaling import ROOT
from tests.runs import CONFIG

pytestmark = pytest.mark.ray

CONNECT = """
import sys, ray
from seal_ray.config import load
from seal_ray.workers.ray_connection import connect
connect(load(sys.argv[1]))
print(len(ray.nodes()), "node")
"""


def test_a_run_that_names_no_cluster_starts_its_own_and_joins_none_that_was_left_behind() -> None:
    with tempfile.TemporaryDirectory(prefix="left-", dir="/tmp") as folder:
        left_behind = Path(folder) / "ray" / "ray_current_cluster"
        left_behind.parent.mkdir()
        left_behind.write_text("127.0.0.1:1")
        env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"RAY_TMPDIR": folder}
        command = [sys.executable, "-c", CONNECT, str(CONFIG)]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.stdout == "1 node\n", done.stderr


@pytest.mark.parametrize(("name", "why"), [("long" * 30, "too long"), ("ü", "not of plain letters")])
def test_a_temporary_folder_in_which_ray_can_have_no_sockets_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, no_ray: None, name: str, why: str
) -> None:
    with tempfile.TemporaryDirectory(prefix=name, dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        with pytest.raises(UserError, match=f"{why} .*set RAY_TMPDIR to a short one on this machine, such as /tmp"):
            connect(load(CONFIG))
