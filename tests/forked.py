"""Ray workers forked from one process that has torch and transformers imported: for tests that start many of them.

Importing them takes some ten seconds of processor time, for each worker that is killed. A worker that is forked is
otherwise an ordinary one: a process of its own with its own memory, started by Ray with its usual command line.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_STANDARD = (0, 1, 2)


@contextmanager
def forking() -> Iterator[tuple[str, int]]:
    """A `py_executable` for Ray's runtime environment that forks workers, and the process whose children they are."""
    with tempfile.TemporaryDirectory(prefix="fork-", dir="/tmp") as folder:
        path = f"{folder}/socket"
        alone = os.environ | {"OMP_NUM_THREADS": "1"}  # as a worker of one CPU has it; it is read at the import
        parent = subprocess.Popen([sys.executable, __file__, "serve", path], stdout=subprocess.PIPE, env=alone)
        try:
            assert parent.stdout
            assert parent.stdout.readline() == b"ready\n"
            yield f"{sys.executable} -S -E {__file__} ask {path}", parent.pid
        finally:
            parent.kill()
            parent.wait()


@contextmanager
def forked(python: str) -> Iterator[None]:
    """Workers of this process's runs are started by `python`, a `py_executable` of `forking`."""
    from seal_ray.workers import cluster as cluster

    usual = cluster.threads_of
    cluster.threads_of = lambda cpus: usual(cpus) | {"py_executable": python}
    try:
        yield
    finally:
        cluster.threads_of = usual


def command(python: str, arguments: Sequence[str]) -> list[str]:
    """The command `seal-ray` with these arguments, as a process of its own whose workers are forked."""
    return [sys.executable, "-m", "tests.forked", "run", python, *arguments]


def serve(path: str) -> None:
    """Import what workers need, and fork one for each that asks. Ray keeps what it reads at its import, so not Ray."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401

    from seal_ray.bank import Bank  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(64)
        print("ready", flush=True)
        while True:
            asker, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _become(asker)
            asker.close()


def _become(asker: socket.socket) -> None:
    """Go on as the worker that was asked for; the connection stays open for as long as it lives."""
    asked, files, _, _ = socket.recv_fds(asker, 1 << 20, len(_STANDARD))
    for file, standard in zip(files, _STANDARD, strict=True):
        os.dup2(file, standard)
        os.close(file)
    told = json.loads(asked)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    sys.argv = told["command"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    sys.path[1:1] = [entry for entry in told["environment"].get("PYTHONPATH", "").split(":") if entry]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        os._exit(0)


def ask(path: str, command: list[str]) -> None:
    """Have a worker forked that runs this command, and end when it ends."""
    told = {"command": command, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [json.dumps(told).encode()], _STANDARD)
        server.recv(1)


def run_command(python: str, arguments: Sequence[str]) -> None:
    from seal_ray.cli.app import main

    with forked(python):
        main([*arguments])


if __name__ == "__main__":
    verb, subject, *rest = sys.argv[1:]
    {"serve": lambda: serve(subject), "ask": lambda: ask(subject, rest), "run": lambda: run_command(subject, rest)}[
        verb
    ]()
