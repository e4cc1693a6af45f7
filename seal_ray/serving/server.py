"""An OpenAI-compatible server of a base and what was learnt on top of it: `seal-ray serve`.

On aiohttp, which Ray's dashboard requires anyway: it reads HTTP, bounds bodies and drops who leaves, and its loop stays
free for `/health` while the model answers.

Secure as it comes: on loopback, for programs of this machine and not for pages in its browser (no request with an
Origin, no name but this machine's); elsewhere for whoever has the token.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hmac import compare_digest
from pathlib import Path

from aiohttp import web

from seal_ray.endpoints.openai_client import Reply
from seal_ray.plain import first_line
from seal_ray.serving import wire
from seal_ray.serving.engines import Served, opened
from seal_ray.serving.hosts import is_loopback, is_this_machine
from seal_ray.serving.wire import Asked, Refused
from seal_ray.stopping import until_told
from seal_ray.types import DataError, UserError

logger = logging.getLogger(__name__)

TOKEN = "SEAL_RAY_TOKEN"
"""The environment variable that holds the token."""
WITHOUT = "base"
"""The model's name without what it learnt."""
LONGEST_BODY = 1 << 20
"""Bytes of a request: several times what any context of a model that is served so can hold."""
SLOWEST_BODY = 30.0
"""Seconds that a request may take to arrive."""
LONGEST_SILENCE = 75.0
"""Seconds that a connection stays without a request, or with the beginning of one, whatever trickles in."""
_NOTHING_ASKED = logging.Logger("requests", logging.CRITICAL)
"""For what aiohttp logs of requests that are none: it would quote them, a token in them too."""


class Server:
    """Answers requests with a model, named `name` with what it learnt and `base` without."""

    def __init__(self, model: Served, name: str, loopback: bool, token: str = "") -> None:
        self._model, self._name, self._loopback, self._token = model, name, loopback, token
        self._waiting = 0

    @asynccontextmanager
    async def at(self, host: str, port: int) -> AsyncIterator[str]:
        """Serve within this context; the base URL for clients."""
        app = web.Application(middlewares=[_as_openai_says, self._guard], client_max_size=LONGEST_BODY)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
            ]
        )
        # Nothing is unpacked, for a small body could fill the memory; nothing is logged of who asked what.
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_NOTHING_ASKED,
            auto_decompress=False,
            handler_cancellation=True,
            keepalive_timeout=LONGEST_SILENCE,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            yield f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}/v1"
        finally:
            await self._model.close()  # whoever is still waited for need not be
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if self._loopback and not is_this_machine(request.headers.get("Host", "")):
            raise Refused(403, "this server answers to localhost and 127.0.0.1 only")
        if "Origin" in request.headers:
            raise Refused(403, "this server answers programs, not pages in a browser")
        if self._token and request.path != "/health":
            given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
            if not compare_digest(given.encode("utf-8", "surrogateescape"), self._token.encode()):
                raise Refused(401, "give the server's token as the API key", "invalid_api_key")
        return await handler(request)

    async def _health(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def _models(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(wire.models(self._name, WITHOUT))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        try:
            async with asyncio.timeout(SLOWEST_BODY):
                asked = Asked.read(await request.read())
        except TimeoutError:
            raise Refused(408, f"the request did not arrive within {SLOWEST_BODY:g} s") from None
        if asked.model not in (self._name, WITHOUT):
            raise Refused(404, f"this server has the models {self._name!r} and {WITHOUT!r}", "model_not_found")
        reply = await self._reply(asked)
        if not asked.stream:
            return web.json_response(wire.completion(asked.model, reply))
        text = wire.events(asked.model, reply, asked.stream_options.include_usage)
        return web.Response(text=text, content_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    async def _reply(self, asked: Asked) -> Reply:
        """The model's reply, if not too many wait for theirs."""
        if self._waiting >= self._model.most:
            raise Refused(429, f"{self._model.most} requests are waiting: try again later")
        self._waiting += 1
        try:
            learnt = asked.model == self._name
            return await self._model.reply(asked.turns(), asked.longest(), learnt=learnt, **asked.sampling())
        except DataError as error:
            raise Refused(400, first_line(error), "context_length_exceeded") from None
        finally:
            self._waiting -= 1


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _as_openai_says(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Errors as clients read them; of a bug, only that there is one."""
    try:
        return await handler(request)
    except Refused as error:
        refused = error
    except web.HTTPException as error:
        refused = Refused(error.status, error.reason)
    except Exception:
        logger.exception("a request failed")
        refused = Refused(500, "the server failed on this request; its own output says how")
    return web.json_response(refused.body(), status=refused.status)


def serve(directory: str, host: str, port: int, say: Callable[[str], None], engine: str = "auto") -> None:
    """Serve what a directory has learnt, until the process is told to end."""
    token, made = os.environ.get(TOKEN, "").strip(), False
    if not token and not is_loopback(host):
        token, made = secrets.token_urlsafe(24), True
    name = Path(directory).resolve().name
    if name == WITHOUT:
        raise UserError(f"a directory called {WITHOUT!r} cannot be told from the model without it: rename it")

    async def forever() -> None:
        async with (
            opened(directory, engine) as model,
            Server(model, name, is_loopback(host), token).at(host, port) as url,
        ):
            say(f"serving {name!r}, with what was learnt, and {WITHOUT!r} at {url}; Ctrl-C ends it")
            if made:
                say(f"API key: {token} (or set {TOKEN} to one of your own)")
            await until_told()

    try:
        asyncio.run(forever())
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port}: {first_line(error)}") from None
