"""How a run ends before its time: what is on record goes to disk, one line says so, and nothing is left running.

A thread of its own watches, for the driver may be deep in a call when it is told to end, or when the Ray it works with
is gone: left to itself, Ray ends the driver from C++, a minute later and without a word.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from seal_ray.types import UserError

logger = logging.getLogger(__name__)

PROMISE = "stopped; the same command continues"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK = 1.0
"""Seconds between looks at whether Ray is there."""
_GRACE = 5.0
"""Seconds in which the driver may leave in good order once it was told to."""
_OVER = 0
"""No signal has this number."""


class Stopped(KeyboardInterrupt):
    """This process was told to end, or cannot go on, and may be begun again."""

    def __init__(self, why: str, code: int, then: str = PROMISE) -> None:
        super().__init__(f"{why}: {then}")
        self.why, self.code = why, code
        self._said = False

    def say(self) -> None:
        """Once, to whoever still listens: the terminal itself may be what has gone."""
        earlier = self.__context__  # who is told again while leaving has said it
        while earlier and not self._said:
            self._said = isinstance(earlier, Stopped) and earlier._said
            earlier = earlier.__context__
        if not self._said:
            self._said = True
            with suppress(OSError, ValueError):
                print(f"seal-ray: {self}", file=sys.stderr, flush=True)

    def leave(self) -> NoReturn:
        """End this process now, and every one below it: the Ray it started. A cluster takes back what a driver had."""
        import psutil

        self.say()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        for below in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                below.kill()
        os._exit(self.code)


def by_signal(number: int, then: str = PROMISE) -> Stopped:
    """The exit code is a shell's for a process that this signal ended."""
    return Stopped(signal.Signals(number).name, 128 + number, then)


@contextmanager
def stoppable(then: str = PROMISE) -> Iterator[None]:
    """Here a signal to end raises `Stopped`, where none was told to be ignored (as by `nohup`)."""

    def stop(number: int, _: FrameType | None) -> None:
        raise by_signal(number, then)

    with _handling(stop):
        yield


async def until_told() -> NoReturn:
    """Wait for a signal to end, and raise `Stopped` here; otherwise it is raised in whatever task is at work then."""
    import asyncio

    loop, told = asyncio.get_running_loop(), asyncio.Queue[int]()

    def hear(number: int, _: FrameType | None) -> None:
        loop.call_soon_threadsafe(told.put_nowait, number)

    with _handling(hear):
        number = await told.get()
    raise by_signal(number, "stopped")


class Watch:
    """While this context lasts, a signal to end, or a reason that `lost` gives, ends what is done in good order.

    `save` is called at once, from another thread; then the work under `over` is cancelled and `Stopped` raised. When it
    takes long to leave, or is told a second time, the process ends where it stands.
    """

    def __init__(self, save: Callable[[], None], hush: Callable[[], None]) -> None:
        self.lost: Callable[[], str] = lambda: ""
        """Why the work cannot go on, once that is so."""
        self._save, self._hush = save, hush
        self._stopped: Stopped | None = None
        self._deadline = 0.0
        self._cancel: Callable[[], object] = lambda: None
        self._handling = _handling(_heard)
        self._told, self._tell = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    @property
    def why(self) -> str:
        """Why the work was ended; empty while it was not."""
        return self._stopped.why if self._stopped else ""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._tell.setblocking(False)
            self._woken = signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        self._handling.__enter__()
        self._thread.start()
        return self

    async def over(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, which is cancelled when the watch ends it."""
        import asyncio  # whoever only asks for help does without

        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        if self._stopped:
            task.cancel()
        try:
            await task
        except UserError:
            raise
        except Exception:
            if why := self.lost():  # the error is only what was noticed of that first
                self._end(Stopped(why, 1))
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._tell.send(bytes([_OVER]))
        self._thread.join()
        self._handling.__exit__(None, None, None)
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._woken)
        self._told.close()
        self._tell.close()
        if self._stopped:
            raise self._stopped from None

    def _watch(self) -> None:
        while True:
            if select.select([self._told], [], [], _LOOK)[0]:
                heard = self._told.recv(64)
                if _OVER in heard:
                    return
                for number in heard:
                    self._end(by_signal(number))
            elif self._stopped:
                if time.monotonic() > self._deadline:
                    self._stopped.leave()
            elif why := self.lost():
                self._end(Stopped(why, 1))

    def _end(self, stopped: Stopped) -> None:
        if self._stopped:
            self._stopped.leave()
        self._stopped, self._deadline = stopped, time.monotonic() + _GRACE
        try:
            self._save()
        except UserError as error:
            logger.warning("%s", error)
        self._hush()
        stopped.say()
        self._cancel()


def _heard(number: int, _: FrameType | None) -> None:
    """Python has written the number to where the watch reads."""


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Signals to end are given to this handler; only the main thread may say so, and what is ignored stays so."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        heeded = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        before = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    except Stopped:  # who is told again, by an impatient user or a batch system, must not be held up in leaving
        before = dict.fromkeys(before, signal.SIG_IGN)
        raise
    finally:
        for number, old in before.items():
            signal.signal(number, old)
