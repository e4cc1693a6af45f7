"""A run that is told to end saves what it has, says so once, and leaves; however busy its driver is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from seal_ray import stopping
from seal_ray.stopping import PROMISE, SIGNALS, Stopped, Watch, stoppable, until_told
from tests.cluster.autoscaling import ROOT


async def told(number: int) -> None:
    """Work that is told to end, and would never end by itself."""
    os.kill(os.getpid(), number)
    await asyncio.Event().wait()


def nothing() -> None: ...


def do(work: Coroutine[Any, Any, None], save: Callable[[], None] = nothing, lost: str = "") -> None:
    with Watch(save, nothing) as watch:
        watch.lost = lambda: lost
        asyncio.run(watch.over(work))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_saves_what_is_there_says_one_line_and_cancels_the_work(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before, saved = [signal.getsignal(each) for each in SIGNALS], []
    with pytest.raises(Stopped) as stopped:
        do(told(number), lambda: saved.append("now"))
    stopped.value.say()
    assert saved == ["now"]
    assert stopped.value.code == code
    assert capsys.readouterr().err == f"seal-ray: {number.name}: {PROMISE}\n"
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_work_that_ends_by_itself_is_left_alone() -> None:
    saved: list[str] = []
    do(asyncio.sleep(0), lambda: saved.append("now"))
    assert saved == []


def test_what_cannot_go_on_is_stopped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_LOOK", 0.01)
    with pytest.raises(Stopped, match=f"the head is gone: {PROMISE}"):
        do(asyncio.sleep(3600), lost="the head is gone")


def test_an_error_that_a_loss_brings_about_is_told_as_the_loss() -> None:
    async def noticed() -> None:
        raise RuntimeError("connection reset by peer")

    with pytest.raises(Stopped, match="the raylet is gone"):
        do(noticed(), lost="the raylet is gone")


def test_any_other_error_is_raised_as_it_is() -> None:
    async def wrong() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        do(wrong())


def test_a_disk_that_takes_nothing_more_does_not_keep_a_run_from_ending(caplog: pytest.LogCaptureFixture) -> None:
    def save() -> None:
        raise stopping.UserError("cannot write journal: No space left on device")

    with pytest.raises(Stopped, match=PROMISE):
        do(told(signal.SIGTERM), save)
    assert "No space left on device" in caplog.text


def test_another_thread_than_the_first_is_watched_without_signals() -> None:
    ended: list[bool] = []

    def body() -> None:
        do(asyncio.sleep(0))
        ended.append(True)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert ended == [True]


BUSY = """
import asyncio, signal, subprocess, sys
from seal_ray import stopping

async def deaf():
    subprocess.Popen(["sleep", "3600"])
    print("ready", flush=True)
    while True:  # as deep in a call as can be: no signal and no callback ends this
        signal.pause()

stopping._GRACE = float(sys.argv[1])
with stopping.Watch(lambda: print("saved", flush=True), lambda: None) as watch:
    asyncio.run(watch.over(deaf()))
"""


def busy(grace: float) -> subprocess.Popen[str]:
    """A driver whose loop never comes round, and that has a process of its own running."""
    command = [sys.executable, "-c", BUSY, str(grace)]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert driver.stdout
    assert driver.stdout.readline() == "ready\n"
    return driver


def test_a_driver_that_is_deep_in_a_call_saves_at_once_and_ends_when_its_grace_is_over_with_all_below_it() -> None:
    driver = busy(grace=0.1)
    driver.terminate()
    out, err = driver.communicate(timeout=60)  # comes to its end when nobody holds the pipes: the process below is gone
    assert (out, err, driver.returncode) == ("saved\n", f"seal-ray: SIGTERM: {PROMISE}\n", 143)


def test_a_second_signal_ends_it_at_once() -> None:
    driver = busy(grace=3600)
    assert driver.stdout
    driver.send_signal(signal.SIGINT)
    assert driver.stdout.readline() == "saved\n"
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert (err, driver.returncode) == (f"seal-ray: SIGINT: {PROMISE}\n", 130)


def test_what_was_told_to_be_ignored_stays_ignored_as_nohup_asks() -> None:
    code = """
import os, signal
from seal_ray.stopping import stoppable
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with stoppable():
    os.kill(os.getpid(), signal.SIGHUP)
print("here")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("here\n", 0)


@pytest.fixture
def heeding() -> Iterator[None]:
    """Who leaves ignores signals; the tests that come after must not, nor what they start."""
    before = [signal.getsignal(each) for each in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("heeding")
def test_who_leaves_because_it_was_told_to_is_not_held_up_by_being_told_again() -> None:
    with pytest.raises(Stopped, match="SIGINT"), stoppable():
        signal.raise_signal(signal.SIGINT)
    for number in SIGNALS:
        signal.raise_signal(number)


def test_who_is_told_again_while_leaving_says_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = Stopped("SIGINT", 130), Stopped("SIGINT", 130)

    def leave() -> None:
        try:
            first.say()
            raise first
        finally:
            raise second

    with pytest.raises(Stopped) as last:
        leave()
    assert last.value is second
    second.say()
    assert capsys.readouterr().err == f"seal-ray: SIGINT: {PROMISE}\n"


@pytest.mark.usefixtures("heeding")
def test_what_a_server_does_when_the_signal_comes_is_not_torn_apart_by_it() -> None:
    done: list[str] = []

    async def request() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("answered")

    async def serving() -> None:
        answering = asyncio.create_task(request())
        try:
            await until_told()
        finally:
            await answering

    with pytest.raises(Stopped, match="SIGTERM: stopped"), stoppable():
        asyncio.run(serving())
    assert done == ["answered"]
