"""`seal-ray watch --web`: the page of a run under way, through a kill and to its end, and for nobody else's pages."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from seal_ray.cli.app import main
from seal_ray.looking.picture import Picture
from seal_ray.looking.watching import Watch
from seal_ray.looking.web import Live
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.record.summary import summarize
from seal_ray.report.data import read_run
from tests.chromium import chromium, visit
from tests.cluster.autoscaling import ROOT
from tests.looking.test_watch import Story, under_way
from tests.report.build import finished
from tests.report.test_page import words_of

__all__ = ["chromium"]


class Site:
    """What `seal-ray watch --web` serves, asked as a browser would."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rstrip("/").rpartition(":")[2])

    def ask(self, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        found = reply.status, {key.lower(): value for key, value in reply.getheaders()}, reply.read().decode()
        connection.close()
        return found

    def news(self) -> Iterator[dict[str, Any]]:
        """What the page is told, as it comes."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", "/events")
        reply = connection.getresponse()
        assert reply.getheader("Content-Type") == "text/event-stream"
        try:
            while line := reply.readline():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        finally:
            connection.close()


@contextmanager
def site(directory: str) -> Iterator[Site]:
    command = [sys.executable, "-m", "seal_ray", "watch", directory, "--web", "--port", "0"]
    alone = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=alone) as process:
        assert process.stderr
        try:
            said = process.stderr.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", said)
            assert found, said + process.stderr.read()
            yield Site(found[0])
        finally:
            process.send_signal(2)
            assert process.wait(60) == 130
            assert process.stderr.read() == "seal-ray: SIGINT: stopped\n"


@pytest.mark.slow
def test_a_run_that_is_killed_and_goes_on_is_seen_to_its_end_and_the_page_agrees_with_its_journal(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path / "run")
    story.begin(4)
    story.until(4)
    with site(story.place) as page:
        told = page.news()

        def until(*words: str) -> dict[str, Any]:
            return next(news for news in told if all(word in " ".join(news["said"]) for word in words))

        until("running", "waiting for")
        first = words_of(page.ask()[2])
        assert "This run is unfinished" in first
        story.go_on()
        story.be_killed()
        assert not until("stopped", "seal-ray resume")["over"]
        story.go_on_after_all()
        until("running")
        story.end()
        assert until("finished")["over"]
        told.close()
        _, _, last = page.ask()
    said = words_of(last)
    assert "This run is unfinished" not in said
    journal = Journal(Store(story.place))
    for name, found in summarize(journal).items():
        assert f"{name} {100 * found.accuracy:.1f}% –" in said  # of four tasks there is no interval
    assert f"trials {len(journal.table('outcomes')):,} " in said
    assert f"self-edits {len(journal.table('self_edits')):,} " in said


def test_a_page_is_for_this_machine_only_and_can_be_looked_at_only(tmp_path: Path) -> None:
    finished(str(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with site(str(tmp_path)) as page:
        for host in ("evil.example", "127.0.0.1.nip.io", f"evil.example:{page.port}", ""):
            status, _, text = page.ask(Host=host)
            assert (status, "invented" in text) == (403, False), host
            assert page.ask("/events", Host=host)[0] == 403
        for host in ("127.0.0.1", f"localhost:{page.port}", f"[::1]:{page.port}"):
            assert page.ask(Host=host)[0] == 200
        assert [page.ask(method=method)[0] for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS")] == [405] * 5
        assert page.ask("/report.html")[0] == page.ask("/../config.json")[0] == 404
        _, headers, text = page.ask(Origin="https://evil.example")
        assert not [name for name in headers if name.startswith("access-control-")]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "connect-src 'self'" in policy
        assert policy.removesuffix("; frame-ancestors 'none'") in text.replace("&#39;", "'")
        assert words_of(text).startswith("seal_ray run report invented, seed 1")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_is_no_request_leaves_the_terminal_alone_and_a_run_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    here, away = tmp_path / "run", tmp_path / "elsewhere"
    finished(str(here))
    with site(str(here)) as page:
        for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01 no request\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", page.port), timeout=60) as caller:
                caller.sendall(sent)
                assert b" 400 " in caller.recv(1000)
        told = page.news()
        assert next(told)["over"]
        here.rename(away)
        assert "no run is here" in " ".join(next(told)["said"])
        away.rename(here)
        assert next(told)["over"], "looking went on"


def test_what_nobody_foresaw_is_said_and_looking_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(str(tmp_path))
    picture, faults = Watch.picture, [RuntimeError("an odd thing")]

    async def seen() -> list[str]:
        async with (
            ClientSession() as session,
            Live(str(tmp_path), 0.01).at(0) as url,
            session.get(f"{url}events") as reply,
        ):
            lines = (line.decode() async for line in reply.content if line.startswith(b"data: "))
            first = await anext(lines)
            monkeypatch.setattr(Watch, "picture", fault)
            return [first, await anext(lines), await anext(lines)]

    def fault(watch: Watch) -> Picture:
        if faults:
            raise faults.pop()
        return picture(watch)

    first, odd, last = asyncio.run(seen())
    assert "the run cannot be looked at: RuntimeError: an odd thing" in odd
    assert first == last


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_in_a_browser_changes_when_the_record_grows_and_keeps_what_is_open(
    chromium: str, tmp_path: Path
) -> None:
    run = under_way(str(tmp_path))
    grown = threading.Timer(0, lambda: None)

    def grow() -> None:
        for index in (3, 4):
            run.edit("round 1", "train-000", index, 0, f"what came later {index}")
            run.trial("round 1", "self-edits", "train-000", index, 0, 0, 0.9)
        run.journal.flush()

    with site(str(tmp_path)) as page:
        grown = threading.Timer(1.0, grow)
        opened = "document.querySelector('.config').open = true"
        later = """new Promise(done => {
            const look = () => document.body.textContent.includes('what came later 3') && done(true);
            new MutationObserver(look).observe(document.body, {childList: true, subtree: true});
            look();
        })"""
        grown.start()
        kept = "document.querySelector('.config').open"
        seen = visit(chromium, page.url, opened, later, kept, "document.getElementById('live').textContent")
        grown.join()
    assert seen.values[:3] == (True, True, True)
    assert "stopped" in seen.values[3]
    assert seen.errors == ()
    assert {address.removeprefix(page.url) for address in seen.requests} == {"", "events"}
    assert len(read_run(str(tmp_path)).rounds[0].candidates) == 6


def test_looking_once_and_going_on_are_not_asked_for_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["watch", str(tmp_path), "--web", "--once"])
    assert "give one of them" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["watch", str(tmp_path / "nowhere"), "--web", "--port", "0"])
    assert "no run is here" in capsys.readouterr().err
