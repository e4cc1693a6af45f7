"""A run that ends before its time leaves its page, which says why."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from seal_ray.cli.output import page_when_stopped
from seal_ray.record.ending import FILE, noted
from seal_ray.record.storage import Store
from seal_ray.report import PAGE
from seal_ray.types import UserError
from tests.looking.test_watch import Story
from tests.report.build import FakeRun
from tests.report.test_page import words_of


@pytest.mark.slow
def test_a_run_stopped_by_ctrl_c_leaves_its_page_and_the_reason_until_it_goes_on(tmp_path: Path) -> None:
    story = Story(tmp_path / "run")
    story.begin(4)
    story.until(4)
    story.processes[-1].send_signal(signal.SIGINT)
    assert story.processes[-1].wait(300) == 130, story.log.read_text()
    assert story.log.read_text().splitlines()[-1] == "seal-ray: SIGINT: stopped; the same command continues"
    page = tmp_path / "run" / PAGE
    words = words_of(page.read_text())
    assert "This run is unfinished It was stopped by Ctrl-C (SIGINT)." in words
    assert "go on with the run seal-ray resume " in words
    story.begin(1 << 30)
    assert story.processes[-1].wait(300) == 0, story.log.read_text()
    assert not (tmp_path / "run" / FILE).exists()
    assert "This run is unfinished" not in words_of(page.read_text())


def test_an_error_that_stops_a_run_is_on_its_page(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path))
    run.write_config()
    run.explore(1, 0.5)
    run.journal.flush()
    with pytest.raises(UserError), page_when_stopped(run.url), noted(Store(run.url)):
        raise UserError("round 1: <b>no</b> self-edit taught anything")
    page = (tmp_path / PAGE).read_text()
    assert "It stopped: round 1: &lt;b&gt;no&lt;/b&gt; self-edit taught anything" in page


def test_a_run_that_was_refused_leaves_no_page(tmp_path: Path) -> None:
    with pytest.raises(UserError), page_when_stopped(str(tmp_path / "none")):
        raise UserError("another process is at work here")
    assert list(tmp_path.iterdir()) == []
