"""The report of a run as it goes on, for a browser of this machine: `seal-ray watch DIR --web`.

It reads the run and does nothing else. Pages of other sites reach nothing here: no name but this machine's is answered
to, and no other origin is allowed to read. On aiohttp, as `seal-ray serve`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass

from aiohttp import web

from seal_ray.looking.seen import read_config
from seal_ray.looking.watching import PATIENT, Watch
from seal_ray.plain import first_line, visible
from seal_ray.record.ending import ending
from seal_ray.record.storage import Store
from seal_ray.report.data import read_run
from seal_ray.report.page import policy, render
from seal_ray.rundir.tuned import refuse_tuned
from seal_ray.serving.hosts import is_this_machine
from seal_ray.stopping import until_told
from seal_ray.types import UserError

HOST = "127.0.0.1"
EVERY = 2.0
"""Seconds between two looks, and ten in object storage; looking and drawing take no more than a tenth of the time."""
_ALIVE = 15.0
"""Seconds after which a browser that was told nothing is sent a line, so that one that has left is noticed."""
_SILENT = logging.getLogger(f"{__name__}.silent")
_SILENT.disabled = True
"""What a stranger sends that is no HTTP is answered as such, and is no matter for the terminal of whoever watches."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"{policy(live=True)}; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class News:
    """What a browser is told: the version of the record, and the state of the run."""

    version: str
    said: tuple[str, ...]
    over: bool = False


class Live:
    """A run that is looked at again and again, and its page, drawn when it is asked for."""

    def __init__(self, directory: str, every: float = EVERY) -> None:
        self._directory, self._every = directory, every
        self._watch, self._store = Watch(directory), Store(directory)
        self._news = self._look()
        self._changed, self._drawing = asyncio.Condition(), asyncio.Lock()
        self._page, self._drawn, self._took = b"", "", 0.0

    @asynccontextmanager
    async def at(self, port: int) -> AsyncIterator[str]:
        """Serve within this context; the address of the page."""
        app = web.Application(middlewares=[_guard])
        app.add_routes([web.get("/", self._show, allow_head=False), web.get("/events", self._tell, allow_head=False)])
        runner = web.AppRunner(app, access_log=None, logger=_SILENT, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        looking = asyncio.create_task(self._look_on())
        try:
            await web.TCPSite(runner, HOST, port).start()
            yield f"http://{HOST}:{runner.addresses[0][1]}/"
        finally:
            looking.cancel()
            await runner.cleanup()

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(max(self._every, PATIENT * (self._watch.took + self._took)))
            try:
                news = await asyncio.to_thread(self._look)
            except Exception as error:  # a record that is damaged, or gone: what was seen stays, and looking goes on
                news = News(self._news.version, (f"the run cannot be looked at: {_why(error)}",))
            async with self._changed:
                self._news = news
                self._changed.notify_all()

    def _look(self) -> News:
        picture, ended = self._watch.picture(), ending(self._store)
        run, under_way = picture.seen.config.run, picture.updates[len(picture.seen.policies) :]
        said = (f"{run.name}, seed {run.seed}: {picture.state}", *under_way, picture.waiting, picture.left)
        version = f"{self._watch.version}.{ended.when:.0f}" if ended else f"{self._watch.version}"
        return News(version, tuple(map(visible, said[:1] if picture.is_over else said)), picture.is_over)

    async def _show(self, _: web.Request) -> web.StreamResponse:
        async with self._drawing:
            version = self._news.version
            if version != self._drawn:
                self._page, self._took = await asyncio.to_thread(self._draw, version)
                self._drawn = version
        return web.Response(body=self._page, content_type="text/html", charset="utf-8")

    def _draw(self, version: str) -> tuple[bytes, float]:
        start = time.monotonic()
        return render(read_run(self._directory), live=version).encode(), time.monotonic() - start

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        """News, whenever there are any, as server-sent events."""
        response = web.StreamResponse(headers=_HEADERS | {"Content-Type": "text/event-stream"})
        await response.prepare(request)
        told: News | None = None
        while True:
            if told != self._news:
                told = self._news
                await response.write(f"data: {json.dumps(asdict(told))}\n\n".encode())
            else:
                await response.write(b":\n\n")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._until_other(told), _ALIVE)

    async def _until_other(self, told: News) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: told != self._news)


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer this machine's own names only, and say in one line what went wrong."""
    response: web.StreamResponse
    if not is_this_machine(request.headers.get("Host", "")):
        response = web.Response(status=403, text="this server answers to localhost and 127.0.0.1 only\n")
    else:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=f"{error.reason}\n")
        except Exception as error:
            response = web.Response(status=503, text=f"{_why(error)}\n")
    if not response.prepared:
        response.headers.update(_HEADERS)
    return response


def _why(error: Exception) -> str:
    """One line; of what nobody foresaw, with its kind."""
    said = visible(str(error) if isinstance(error, UserError) else first_line(error))
    return said if isinstance(error, (UserError, OSError)) else f"{type(error).__name__}: {said}"


def serve(directory: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a run's page until the process is told to end; trials of settings have none."""
    refuse_tuned(directory, read_config(Store(directory)))

    async def forever() -> None:
        live = Live(directory, 10.0 if "://" in directory else EVERY)
        async with live.at(port) as url:
            say(f"{directory} at {url}; Ctrl-C ends it")
            await until_told()

    try:
        asyncio.run(forever())
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port}: {first_line(error)}") from None
