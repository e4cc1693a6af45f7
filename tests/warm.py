"""Processes that are forked from one in which torch and transformers are imported: for runs that are to be killed.

Importing them takes six seconds of processor time, for each process that goes on with a run. One that is forked is
otherwise an ordinary process, which is sent signals, killed and waited for. Workers of Ray have `tests.forked`.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

FORKING = multiprocessing.get_context("forkserver")
"""A `FORKING.Process` has imported what a run in one process needs."""
FORKING.set_forkserver_preload(["tests.warm_imports"])


class Command:
    """The command `seal-ray` with these arguments, as a `subprocess.Popen` of it would be."""

    def __init__(
        self, arguments: Sequence[str], log: Path, said: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """What it logs is added to `log`, and what it prints with it, unless that goes to the file `said`."""
        whole = dict(os.environ if env is None else env)
        become = ([*arguments], log, said or log, whole, os.getcwd())
        self._process = FORKING.Process(target=_become, args=become, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("seal-ray", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def printed(code: str, folder: Path) -> str:
    """What this program prints that runs in this folder."""
    log, said = folder / "program.log", folder / "program.said"
    process = FORKING.Process(target=_run, args=(code, folder, log, said), daemon=True)
    process.start()
    process.join()
    assert process.exitcode == 0, log.read_text()
    return said.read_text()


def _run(code: str, folder: Path, log: Path, said: Path) -> None:
    _into(log, said)
    os.chdir(folder)
    exec(code, {"__name__": "__main__"})


def _become(arguments: list[str], log: Path, said: Path, env: dict[str, str], folder: str) -> None:
    _into(log, said)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    from seal_ray.cli.app import main

    main(arguments)


def _into(log: Path, said: Path) -> None:
    """From now on this process's errors are added to the one file, and what it prints to the other."""
    for path, standard in ((said, 1), (log, 2)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), standard)
