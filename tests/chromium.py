"""A real browser for tests of pages: headless Chromium, driven over its DevTools socket.

In a conftest:  from tests.chromium import chromium  # noqa: F401
In a test:      seen = visit(chromium, "file:///…/report.html", "document.title")
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # a container's root has no other choice
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_PATIENCE = 600
_PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


@dataclass(frozen=True)
class Visit:
    """What came of opening a page."""

    values: tuple[Any, ...]
    """Of the expressions, in order."""
    errors: tuple[str, ...]
    """Uncaught exceptions, console errors, and what the page's own policy refused."""
    requests: tuple[str, ...]
    """Every address asked for, the page itself first."""
    seconds: float
    """Of processor time that the page took until it was there and painted, however busy the machine is with others."""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path; tests that need one are skipped where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")


def visit(
    browser: str,
    url: str,
    *expressions: str,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    screenshot: Path | None = None,
) -> Visit:
    """Open a page, wait until it has loaded, evaluate JavaScript in it; `screenshot` gets the whole page as PNG."""
    return asyncio.run(
        asyncio.wait_for(_visit(browser, url, expressions, (width, height), dark, screenshot), timeout=_PATIENCE)
    )


async def _visit(
    browser: str, url: str, expressions: tuple[str, ...], size: tuple[int, int], dark: bool, screenshot: Path | None
) -> Visit:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            browser,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            port = await _port(process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as reply:
                    page = next(target for target in await reply.json() if target["type"] == "page")
                async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    return await _Tab(socket).open(url, expressions, size, dark, screenshot)
        finally:
            process.terminate()
            await process.wait()


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr
    said = ""
    async for line in process.stderr:
        said += line.decode(errors="replace")
        if "DevTools listening on ws://" in said:
            return int(said.split("DevTools listening on ws://")[1].split("/")[0].rsplit(":", 1)[1])
    raise RuntimeError(f"Chromium did not start: {said[-2000:]}")


class _Tab:
    """One page's DevTools connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number = socket, 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.loaded = False

    async def open(
        self, url: str, expressions: tuple[str, ...], size: tuple[int, int], dark: bool, screenshot: Path | None
    ) -> Visit:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self._call(f"{domain}.enable")
        await self._call("Performance.enable", timeDomain="threadTicks")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._call("Emulation.setEmulatedMedia", features=[scheme])
        shape = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
        await self._call("Emulation.setDeviceMetricsOverride", **shape)
        self.loaded = False
        self.requests.clear()
        await self._call("Page.navigate", url=url)
        while not self.loaded:
            self._note(await self._receive())
        await self._evaluate(_PAINTED)
        metrics = (await self._call("Performance.getMetrics"))["metrics"]
        (seconds,) = (each["value"] for each in metrics if each["name"] == "TaskDuration")
        values = [await self._evaluate(expression) for expression in expressions]
        if screenshot:
            image = await self._call("Page.captureScreenshot", captureBeyondViewport=True)
            screenshot.write_bytes(base64.b64decode(image["data"]))
        return Visit(tuple(values), tuple(self.errors), tuple(self.requests), seconds)

    async def _evaluate(self, expression: str) -> Any:
        reply = await self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise AssertionError(f"{expression}: {reply['exceptionDetails']}")
        return reply["result"].get("value")

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        while (message := await self._receive()).get("id") != self._number:
            self._note(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        return message["result"]

    async def _receive(self) -> dict[str, Any]:
        message = await self._socket.receive()
        if message.type != aiohttp.WSMsgType.TEXT:
            raise RuntimeError(f"Chromium closed the connection: {message}")
        return json.loads(message.data)

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"].get("text")))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
