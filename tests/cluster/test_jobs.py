"""`ray job submit`, as the entry points' docstrings give it, against a head on this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil
import pytest
from ray._private.runtime_env.packaging import create_package

from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from tests.chaos.cluster import TINY
from tests.cluster.autoscaling import OBJECT_STORE_BYTES, ROOT, end, free_port, head_of, reached
from tests.console import files, steps, unlike
from tests.gated import Gate
from tests.runs import SMALL, rows_on_disk

pytestmark = pytest.mark.ray

README = (ROOT / "README.md").read_text()
TOKEN, START, SUBMIT = re.findall(
    r"^export RAY_AUTH_MODE=token\n(.+)\n(ray start .+)\n(ray job submit .+) -- .+$", README, re.M
)[0]
"""README's own lines."""


@dataclass(frozen=True)
class Submitted:
    """A `ray job submit` at work."""

    process: subprocess.Popen[bytes]
    output: IO[str]

    def ended(self) -> int:
        """Its exit code, which is not 0 when the job failed."""
        return self.process.wait(900)

    def log(self) -> str:
        self.output.seek(0)
        return self.output.read()


class Head:
    """A Ray head with a job server, started as README says by somebody who never did so before."""

    def __init__(self, folder: Path, forking: tuple[str, int]) -> None:
        self._python, self._parent = forking
        port, self.dashboard = free_port(), f"http://127.0.0.1:{free_port()}"
        self.home = folder / "home"
        self.home.mkdir()
        self.env = os.environ | {
            "HOME": str(self.home),
            "RAY_AUTH_MODE": "token",
            "PYTHONPATH": str(ROOT),  # for `tests.gated`; the package itself comes with the job
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # a job's `python` is this one
        }
        self.make_token()
        command = [
            *(*shlex.split(START), "--block", "--num-cpus=2"),
            *("--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard.rsplit(':', 1)[1]}"),
            *(f"--dashboard-agent-listen-port={free_port()}", f"--ray-client-server-port={free_port()}"),
            f"--object-store-memory={OBJECT_STORE_BYTES}",
        ]
        self._process = head_of(command, self.env, folder / "head.log")

    def make_token(self) -> str:
        subprocess.run(["bash", "-ec", TOKEN], env=self.env, check=True, capture_output=True, timeout=300)
        return (self.home / ".ray" / "auth_token").read_text()

    def job(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["ray", "job", verb, "--address", self.dashboard, *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=300)

    @contextmanager
    def submitted(self, name: str, run_dir: Path, *more: str) -> Iterator[Submitted]:
        """A run of the micro-world as a job whose workers are forked, while `ray job submit` waits for its end."""
        small = [*SMALL, *TINY, "--workers.trainers", "1", *more]
        entry = ["python", "jobs/submit.py", "jobs/microworld.toml", *small, "--run.dir", str(run_dir)]
        command = [*shlex.split(SUBMIT), "--address", self.dashboard, "--submission-id", name]
        command += ["--runtime-env-json", json.dumps({"py_executable": self._python})]
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen([*command, "--", *entry], cwd=ROOT, env=self.env, stdout=log, stderr=log)
            try:
                yield Submitted(process, log)
            finally:
                end(process)

    def processes(self, title: str) -> list[psutil.Process]:
        below = psutil.Process(self._process.pid).children(recursive=True) + psutil.Process(self._parent).children()
        return [process for process in below if " ".join(process.cmdline()).startswith(title)]

    def close(self) -> None:
        end(self._process)


@pytest.fixture(scope="module")
def head(forking: tuple[str, int]) -> Iterator[Head]:
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        head = Head(Path(folder), forking)
        try:
            yield head
        finally:
            head.close()


def rows(folder: Path, table: str) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in Journal(Store(str(folder))).rows(table)}


def test_a_job_that_is_stopped_and_submitted_again_and_loses_its_driver_continues_to_a_whole_journal(
    head: Head, tmp_path: Path
) -> None:
    folder, gate = tmp_path / "run", Gate(tmp_path / "gate")
    gate.allow(4)  # the run waits there, however quick it is, to be stopped and to lose its driver
    with head.submitted("first", folder, *gate.arguments) as submitted:
        assert reached(lambda: gate.holds and rows_on_disk(folder) > 0, 600), submitted.log()
        assert "was stopped" in head.job("stop", "first").stdout
    before, seen = rows(folder, "outcomes"), rows_on_disk(folder)
    assert not rows(folder, "policies")  # it was stopped before its end

    gate.allow(4)
    with head.submitted("second", folder, *gate.arguments) as submitted:
        assert reached(lambda: gate.holds and rows_on_disk(folder) > seen, 600), submitted.log()
        (driver,) = head.processes("ray::driver")
        driver.kill()
        gate.open()
        assert submitted.ended() == 0, submitted.log()
        assert "held-out accuracy" in submitted.log()
    after = rows(folder, "outcomes")
    assert {key: after[key] for key in before} == before  # what was done was not done again
    assert {row["trial"] for row in rows(folder, "planned").values()} == after.keys()
    assert [row["version"] for row in rows(folder, "policies").values()] == [1]


def test_a_token_that_is_there_already_stays(head: Head) -> None:
    assert head.make_token() == head.make_token()  # so README's lines work a second time, too


def test_the_tutorials_job_is_run_and_listed_as_it_is_shown_there(head: Head) -> None:
    """Its lines that start the head are those that started this one."""
    page = ROOT / "docs/tutorial.md"
    shown = {step.command: step.shown for step in steps(page)}
    (submit,) = (command for command in shown if command.startswith("ray job submit --working-dir"))
    assert [TOKEN.partition("  ")[0], START] == [command for command in shown if re.match("ray (get|start)", command)]
    overlay = head.home / "small.toml"  # a job's working directory is the checkout, which a test leaves as it is
    overlay.write_text(files(page)["small.toml"])
    command = [*shlex.split(submit.replace("small.toml", str(overlay))), "--workers.trainers", "1"]
    env = head.env | {"COLUMNS": "200", "RAY_ADDRESS": head.dashboard}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert unlike(shown[submit], done.stdout) == "", done.stdout
    listed = [sys.executable, "-m", "seal_ray", "ls", str(head.home / "runs")]
    printed = subprocess.run(listed, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    assert unlike(shown["seal-ray ls ~/runs"], printed) == "", printed


def test_a_bench_is_a_job_whose_mistakes_are_one_line(head: Head) -> None:
    entry = ["python", "jobs/bench.py", "trials", "--device", "cpu", "--shape", "none"]
    done = head.job("submit", "--working-dir", ".", "--", *entry)
    assert done.returncode != 0
    assert "seal-ray: --shape 'none' is unknown" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_uploaded_working_directory_is_small() -> None:
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "package.zip"
        create_package(str(ROOT), package, include_gitignore=True)
        assert package.stat().st_size < 10 * 2**20  # two small base models are most of it


def test_what_the_user_can_mend_is_one_line_in_the_jobs_log(head: Head, tmp_path: Path) -> None:
    by_the_job = ("refused", "--model.pth", "x")
    by_the_driver = ("refused-by-the-driver", "--domain.name", "no.such:Thing")
    jobs = (head.submitted(name, tmp_path / name, *setting) for name, *setting in (by_the_job, by_the_driver))
    with next(jobs) as one, next(jobs) as other:
        for refused, words in (
            (one, "unknown key 'model.pth'; did you mean 'model.path'?"),
            (other, "seal-ray: domain.name 'no.such:Thing' cannot be"),
        ):
            assert refused.ended() != 0
            assert words in refused.log()
            assert "Traceback" not in refused.log()
