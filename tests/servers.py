"""A real HTTP server on loopback that says what a test scripts."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], str | bytes]
"""Status, headers and body of one reply. The rest of a body that is shorter than its headers say trickles in."""


class ScriptedServer:
    """Gives its scripted answers in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        self.seen: list[tuple[str, dict[str, Any], str]] = []
        """Path, body and authorization of each request."""
        self.over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.seen.append((self.path, body, self.headers.get("authorization", "")))
                status, headers, text = server.script[min(len(server.seen), len(server.script)) - 1]
                body = text if isinstance(text, bytes) else text.encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client had enough
                    self.wfile.write(body)
                    if int(headers.get("content-length", 0)) > len(body):
                        while not server.over.wait(0.02):  # the rest trickles in
                            self.wfile.write(b" ")

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


def ok(body: Any) -> Answer:
    return 200, {}, json.dumps(body)


@contextmanager
def serving(*script: Answer) -> Iterator[ScriptedServer]:
    server = ScriptedServer(*script)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.http.shutdown()
        thread.join()
        server.http.server_close()
