"""A whole run in one process without Ray, with a fault set inside it: at a write, at a row, in the clock."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.chaos import in_turn
from tests.chaos.survival import Survival, in_time
from tests.chaos.victim import done_twice, faults_met, lines_noted, note_met, noted
from tests.cluster.autoscaling import free_port
from tests.runs import SMALL, results, rows_on_disk

TINY = [
    *("--domain.train", "3", "--domain.test", "3", "--sampling.per_task", "2", "--run.rounds", "1"),
    *("--workers.slots", "4", "--trial.optim.epochs", "4"),
]
Met = Callable[[str], None]
Fault = Callable[[str, random.Random, Met], None]
"""Set inside the process of the run in this folder; it tells whenever it is met."""


# What can be set inside a run ---------------------------------------------------------------------


def at_each_change(folder: str, pattern: str, act: Callable[[int], None]) -> None:
    """Before the run's every change of a file of its directory whose path fits: the how-manieth one it is."""
    counted, fits = [0], re.compile(pattern)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in ("open", "os.rename", "os.remove", "os.link", "os.mkdir") or not isinstance(args[0], str):
            return
        if event == "open" and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        path = args[1] if event in ("os.rename", "os.link") else args[0]
        if isinstance(path, str) and path.startswith(f"{folder}/") and fits.search(path[len(folder) :]):
            counted[0] += 1
            act(counted[0])

    sys.addaudithook(hook)


def _die(met: Met) -> None:
    met("killed")
    os.kill(os.getpid(), signal.SIGKILL)


def _killed(pattern: str, most: int) -> Fault:
    def fault(folder: str, chance: random.Random, met: Met) -> None:
        moment = chance.randint(1, most)
        at_each_change(folder, pattern, lambda n: _die(met) if n == moment else None)

    return fault


def _between(folder: str, chance: random.Random, met: Met) -> None:
    """When a row is decided on and about to be entered."""
    table = chance.choice(("outcomes", "kept", "policies", "self_edits", "planned"))
    _before_row(table, chance.randint(1, {"policies": 1, "kept": 3}.get(table, 6)), met)


def _before_row(table: str, number: int, met: Met) -> None:
    """Killed when this table's row of this number is about to be entered."""
    from seal_ray.record.journal import Journal

    left, usual = [number], Journal.append

    def append(self: Journal, name: str, row: dict[str, Any]) -> None:
        left[0] -= name == table
        if left[0] == 0:
            _die(met)
        usual(self, name, row)

    Journal.append = append  # type: ignore[method-assign]


def _between_in_turn(folder: str, chance: random.Random, met: Met) -> None:
    """Likewise, where passages arrive in turn."""
    table = chance.choice(("continual", "outcomes", "planned", "self_edits"))
    _before_row(table, chance.randint(1, {"continual": in_turn.STEPS, "self_edits": 3}.get(table, 24)), met)


def _learnt_row(step: int) -> Fault:
    """When what was trained is kept, and the policy that has learnt it is about to be entered."""
    return lambda folder, chance, met: _before_row("continual", step, met)


def _full(folder: str, chance: random.Random, met: Met) -> None:
    """From some write on, none succeeds."""
    first = chance.randint(3, 20)

    def act(number: int) -> None:
        if number >= first:
            met("full disk")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    at_each_change(folder, ".", act)


def _slow(folder: str, chance: random.Random, met: Met) -> None:
    def act(number: int) -> None:
        met("slow disk")
        time.sleep(chance.random() / 2)

    at_each_change(folder, ".", act)


def _clock(folder: str, chance: random.Random, met: Met) -> None:
    """The wall clock jumps by up to a day, back or forth, every third time that it is read."""
    usual, read, ahead = time.time, [0], [0.0]

    def jumping() -> float:
        read[0] += 1
        if read[0] % 3 == 0:
            met("clock jumps")
            ahead[0] = chance.uniform(-86_400, 86_400)
        return usual() + ahead[0]

    time.time = jumping


def _merging(folder: str, chance: random.Random, met: Met) -> None:
    """Killed at some change of the journal, every second segment of which is merged with the one before."""
    from seal_ray.record import journal

    journal.FLUSH_SECONDS, journal.MERGE = 0.05, 2
    _killed(r"/journal/", 60)(folder, chance, met)


def _short_lease(folder: str, chance: random.Random, met: Met) -> None:
    """Of a run in object storage: the next driver need not wait for half a minute."""
    from seal_ray.record import lease

    lease.SECONDS = 3.0


def _none(folder: str, chance: random.Random, met: Met) -> None: ...


FAULTS: dict[str, Fault] = {
    "": _none,
    "killed while flushing": _killed(r"/journal/", 16),
    "killed while claiming": _killed(r"^/[^/]*$", 4),
    "killed while merging": _merging,
    "killed while saving a policy": _killed(r"/adapters/", 4),
    "killed between deciding and entering": _between,
    **{f"killed at lesson {step}": _learnt_row(step) for step in range(1, in_turn.STEPS + 1)},
    "killed while saving a lesson": _killed(r"/adapters/", 6 * in_turn.STEPS),
    "killed between deciding and entering in turn": _between_in_turn,
    "full disk": _full,
    "slow disk": _slow,
    "clock jumps": _clock,
    "second driver": _none,
    "unruly endpoint": _none,
    "short lease": _short_lease,
}


# A run of its own -----------------------------------------------------------------------------------


def begin(folder: Path, fault: str = "", seed: int = 0, more: Sequence[str] = ()) -> int:
    """Fork a process that does the run, or goes on with it, as the command does; its id."""
    if pid := os.fork():
        return pid
    code = 70
    try:
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = _command(folder, fault, seed, more)
    finally:
        os._exit(code)


def _command(folder: Path, fault: str, seed: int, more: Sequence[str]) -> int:
    from seal_ray.cli.app import main
    from tests.runs import CONFIG

    try:
        with noted(folder):
            FAULTS[fault](str(folder), random.Random(seed), functools.partial(note_met, folder))
            alone = ("--workers.address", "in-process", "--quiet")
            main(["run", str(CONFIG), *SMALL, *TINY, "--run.dir", str(folder), *alone, *more])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    return 0


@dataclass(frozen=True)
class End:
    """How a process ended."""

    code: int
    """Negative for the signal that killed it."""
    said: str


def ended(pid: int, folder: Path) -> End:
    """Wait for it; one that stands still is a failure of the system under test."""
    found = [0, 0]

    def over() -> bool:
        found[:] = os.waitpid(pid, os.WNOHANG)
        return bool(found[0])

    if not in_time(over, lambda: lines_noted(folder)):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return End(-99, "it stood still")
    return End(os.waitstatus_to_exitcode(found[1]), folder.with_suffix(".log").read_text().strip())


def settings_of(fault: str) -> Sequence[str]:
    """What the run of a fault does otherwise than the usual one."""
    return in_turn.SETTINGS if in_turn.is_met_by(fault) else ()


def met(folder: Path, fault: str, seed: int, expected: dict[str, Any]) -> Survival:
    """Do the run with this fault in its first process, then go on with it in quiet ones."""
    survival, start = Survival(), time.monotonic()
    with served(fault == "unruly endpoint", seed, functools.partial(note_met, folder)) as more:
        more = [*more, *settings_of(fault)]
        pid = begin(folder, fault, seed, more)
        if fault == "second driver":
            survival.wrong += _refused_beside(pid, folder, more)
        ends = [ended(pid, folder)]
        while ends[-1].code and len(ends) < 4:
            survival.wrong += in_turn.between(folder) if in_turn.is_met_by(fault) else []
            if ends[-1].code != -signal.SIGKILL:
                survival.wrong += one_line(ends[-1])
            ends.append(ended(begin(folder, "", 0, more), folder))
        if (fault.startswith("killed") or fault == "full disk") and len(ends) < 2:
            survival.wrong.append("it came to its end in spite of the fault")
        if ends[-1].code:
            survival.wrong.append(f"never came to its end: {how(ends[-1])}")
        elif results(folder) != expected:
            survival.wrong.append("it did not come to the quiet run's journal")
    survival.met = faults_met(folder)
    survival.hold(["killed" if fault.startswith("killed") else fault])
    survival.again, survival.oldest = done_twice(folder)
    if fault.startswith("killed"):
        survival.hold_to_a_second()
    survival.seconds = time.monotonic() - start
    return survival


def how(end: End) -> str:
    return "killed" if end.code == -signal.SIGKILL else f"ended with {end.code}: {end.said[-300:]}"


def one_line(end: End) -> list[str]:
    lines = [line for line in end.said.splitlines() if line.startswith("seal-ray: ")]
    fine = end.code == 2 and len(lines) == 1 and "Traceback" not in end.said
    return [] if fine else [f"no single line and code 2, but {how(end)}"]


def _refused_beside(pid: int, folder: Path, more: Sequence[str]) -> list[str]:
    """A second driver on the directory of one that is at work."""
    if not in_time(lambda: rows_on_disk(folder) >= 3, lambda: lines_noted(folder)):
        raise RuntimeError("the first driver stood still")
    os.kill(pid, signal.SIGSTOP)
    other = folder.with_name(f"{folder.name}-other")
    os.symlink(folder, other)
    try:
        end = ended(begin(other, "", 0, more), other)
    finally:
        os.kill(pid, signal.SIGCONT)
    note_met(folder, "second driver")
    return one_line(end) or ([] if "another process" in end.said else [f"the second driver: {how(end)}"])


# A server that misbehaves -----------------------------------------------------------------------------


@contextmanager
def served(wanted: bool, seed: int, met: Met) -> Iterator[Sequence[str]]:
    """The settings under which self-edits come from a server that is away for a while and often answers nonsense."""
    if not wanted:
        yield ()
        return
    server = ThreadingHTTPServer(("127.0.0.1", _port()), _unruly(seed, met))
    if not (pid := os.fork()):
        server.serve_forever()
        os._exit(0)
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        yield endpoint_settings(url)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        server.server_close()


@functools.cache
def _port() -> int:
    """One for all: whose text a self-edit is belongs to its name."""
    return free_port()


def endpoint_settings(url: str) -> list[str]:
    return [
        *("--sampling.engine", "endpoint", "--sampling.endpoint", url, "--sampling.endpoint_model", "m"),
        *("--sampling.key_env", "", "--run.rounds", "0", "--evaluation.samples", "3"),
    ]


def _unruly(seed: int, met: Met) -> type[BaseHTTPRequestHandler]:
    """A request goes wrong three times in a row at most, and a client tries four. With an even seed it is also away."""
    lock, asked_before, total = threading.Lock(), Counter[bytes](), [0]
    away = range(0)
    if seed and seed % 2 == 0:
        away = range(start := random.Random(seed).randint(4, 12), start + 60)

    def trouble_with(asked: bytes) -> str:
        with lock:
            times, number = asked_before[asked], total[0]
            asked_before[asked], total[0] = times + 1, number + 1
        if number in away:
            return "500"
        chance = random.Random(f"{seed} {times} {hashlib.sha256(asked).hexdigest()}")
        wrong = seed and times < 3
        return chance.choice(("", "", "", "", "500", "hang up", "no text", "half", "bytes")) if wrong else ""

    class Unruly(BaseHTTPRequestHandler):
        """Every text follows from what was asked, so that what is asked twice is answered alike."""

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["content-length"]))
            if trouble := trouble_with(asked):
                met("unruly endpoint")
            number = hashlib.sha256(asked).digest()
            text = " ".join(f"Fact {byte} is that {byte % 7} follows ." for byte in number[:4])
            body = json.dumps({"choices": [{"text": text, "finish_reason": "stop"}]}).encode()
            if trouble == "hang up":
                self.close_connection = True
                return
            if trouble == "500":
                self.send_error(500)
                return
            body = {"no text": b'{"choices": []}', "half": body[:-9], "bytes": b"\xff\xfe{"}.get(trouble, body)
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None: ...

    return Unruly
