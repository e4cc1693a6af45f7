"""Ended by a signal, or by the loss of its Ray, a run says so once, and the same command continues it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from seal_ray.stopping import PROMISE
from tests.chaos.cluster import TINY
from tests.cluster.autoscaling import end, reached
from tests.cluster.held import HELD_AT, Held
from tests.runs import results, start

MORE = [*TINY, "--workers.trainers", "1", "--domain.name", f"{Held.__module__}:{Held.__name__}"]
PATIENCE = 240.0


class Begun:
    """The command, as far as it comes while nobody grades; and every process that it has brought about."""

    def __init__(self, folder: Path, forking: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
        python, parent = forking
        held_at = folder.with_suffix(".held")
        held_at.unlink(missing_ok=True)
        self.log = folder.with_suffix(".log")
        self.log.unlink(missing_ok=True)
        others = set(psutil.Process(parent).children(recursive=True))
        with monkeypatch.context() as patch:
            patch.setenv(HELD_AT, str(held_at))
            self.process = start(folder, *MORE, python=python)
        assert reached(lambda: held_at.exists() or self.process.poll() is not None, PATIENCE), self.log.read_text()
        assert self.process.poll() is None, self.log.read_text()
        self.below = psutil.Process(self.process.pid).children(recursive=True)
        self.below += set(psutil.Process(parent).children(recursive=True)) - others

    def named(self, name: str) -> psutil.Process:
        (found,) = (process for process in self.below if process.name() == name)
        return found

    def tell(self, how: str) -> None:
        match how:
            case "SIGINT twice":
                self.process.send_signal(signal.SIGINT)
                assert reached(lambda: PROMISE in self.log.read_text(), PATIENCE)
                self.process.send_signal(signal.SIGINT)
            case "raylet" | "gcs_server":
                self.named(how).kill()
            case _:
                self.process.send_signal(signal.Signals[how])

    def left(self) -> list[psutil.Process]:
        return psutil.wait_procs(self.below, timeout=10)[1]


@pytest.fixture
def begun() -> Iterator[list[Begun]]:
    """What is begun here is ended, should a test fail."""
    found: list[Begun] = []
    yield found
    for each in found:
        end(each.process)


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_ended_in_any_way_says_so_once_leaves_nothing_running_and_the_same_command_continues_it(
    tmp_path: Path, forking: tuple[str, int], begun: list[Begun], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, written = tmp_path / "run", {}
    # Each signal by itself is in `test_stopping.py`; here are those that Ray's own processes also feel.
    ways = {"SIGINT twice": 130, "SIGTERM": 143, "raylet": 1, "gcs_server": 1}
    for how, code in ways.items():
        run = Begun(folder, forking, monkeypatch)
        begun.append(run)
        run.tell(how)
        assert run.process.wait(PATIENCE) == code, (how, run.log.read_text())
        assert run.left() == [], how
        said = run.log.read_text()
        assert [line for line in said.splitlines() if PROMISE in line] == [
            line for line in said.splitlines() if line.startswith("seal-ray: ")
        ], said
        assert said.count(PROMISE) == 1, said
        assert "Traceback" not in said
        assert "@ 0x" not in said  # addresses of C++
        before, written = written, results(folder)["self_edits"]
        assert written, how
        assert before.items() <= written.items()
    last = start(folder, *MORE, python=forking[0])
    assert last.wait(PATIENCE) == 0, run.log.read_text()
    assert written.items() <= results(folder)["self_edits"].items()
    assert results(folder)["policies"].keys() == {1}
