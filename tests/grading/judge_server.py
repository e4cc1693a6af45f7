"""A judge endpoint on 127.0.0.1 that misbehaves on purpose: late, refusing, broken, talking nonsense.

What happens to an answer is spelled out in it, as in `late 429 500: this is right`: each word before the colon
is what one try comes to, then the answer is judged by its last word, as `SAID` has it, and wrong otherwise.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLOW = 0.05
"""Seconds a slow reply takes. A late one comes only when the server is shut down."""

SAID = {
    "right": ("Yes.", "stop"),
    "unsure": ("It may be, yes or no.", "stop"),
    "pondered": ("<think>\nNo other name is like it, or no.\n</think>\n\nYes.", "stop"),
    "pondering": ("<think>\nOkay, yes would mean that", "length"),
    "talkative": ("The reference names a person, and", "length"),
}
"""What the judge replies, and why its reply ends."""


class JudgeServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, plan: Callable[[str], str] = str) -> None:
        """`plan` says how an answer is treated, for answers that do not spell it out themselves."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plan = plan
        self.lock = threading.Lock()
        self.hang = threading.Event()
        self.tries: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.together = threading.Barrier(1)
        """What replies that come together wait for."""
        self.open = self.most_open = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def judge_server(plan: Callable[[str], str] = str) -> Iterator[JudgeServer]:
    server = JudgeServer(plan)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
        try:
            self._answer(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client gave up waiting
        finally:
            with self.server.lock:
                self.server.open -= 1

    def _answer(self, body: dict[str, Any]) -> None:
        asked = body["messages"][-1]["content"]
        bounded = re.search(r"^BEGIN ANSWER (\w+)\n(.*)\nEND ANSWER \1$", asked, re.MULTILINE | re.DOTALL)
        answer = bounded[2] if bounded else asked
        with self.server.lock:
            attempt = self.server.tries[answer]
            self.server.tries[answer] += 1
            self.server.keys.add(self.headers.get("authorization", ""))
        plan, _, text = self.server.plan(answer).rpartition(":")
        tries = [*plan.split(), "ok"]
        what = tries[min(attempt, len(tries) - 1)]
        if what.isdigit():
            return self._send(int(what), "busy", {"Retry-After": "0.01"} if what == "429" else {})
        if what in ("slow", "late"):
            self.server.hang.wait(SLOW if what == "slow" else None)
        if what == "together":
            self.server.together.wait()
        if what == "garbage":
            return self._send(200, "<html>not JSON</html>")
        if what == "hollow":
            return self._send(200, json.dumps({"choices": []}))
        said, end = next((reply for word, reply in SAID.items() if text.endswith(word)), ("no", "stop"))
        reply = {"choices": [{"message": {"role": "assistant", "content": said}, "finish_reason": end}]}
        return self._send(200, json.dumps({**reply, "usage": {"prompt_tokens": 100, "completion_tokens": 2}}))

    def _send(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
