"""What is logged while a run is open lies below its directory; the terminal keeps what a person must see."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from seal_ray.config import Config, load
from seal_ray.domains.registry import load_domain
from seal_ray.loop.run import run
from seal_ray.loop.session import Session, open_run
from seal_ray.observe.log import at, logged
from seal_ray.observe.progress import start_log
from seal_ray.record.storage import Store
from seal_ray.rundir.identity import identify
from seal_ray.stopping import PROMISE, Stopped
from seal_ray.types import UserError
from tests.disks import mounted
from tests.runs import CONFIG, small_run

ours, theirs, progress = (logging.getLogger(name) for name in ("seal_ray.loop.trials", "a_library", "seal_ray"))


def config(folder: Path, *more: str) -> Config:
    return load(CONFIG, ["--run.dir", str(folder), *more])


def text(folder: Path) -> str:
    return (folder / "logs/run.log").read_text()


def entries(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "logs/run.jsonl").read_text().splitlines()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a command's standard error shows, which is no terminal."""
    root, stderr = logging.getLogger(), io.StringIO()
    before = root.level
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(root, "handlers", [])
    start_log()
    yield stderr
    root.setLevel(before)


def test_a_person_sees_progress_and_what_to_act_on_and_the_file_has_everything(
    tmp_path: Path, terminal: io.StringIO
) -> None:
    with logged(found := config(tmp_path)) as log:
        ours.info("before it is known where the log goes")
        log.begin(Store(found.dir))
        progress.info("round 1: trials: 4/4")
        ours.warning("no self-edit: refused")
        ours.info("a detail")
        ours.debug("a finer one")
        theirs.warning("deprecated")
        warnings.warn("also deprecated", stacklevel=1)
        theirs.error("broken")
    theirs.warning("after the run")
    shown, written = terminal.getvalue(), text(tmp_path)
    for line in ("before it is known", "round 1: trials: 4/4", "no self-edit: refused", "broken", "after the run"):
        assert line in shown
    for line in ("a detail", "a finer one", "deprecated"):
        assert line not in shown
        assert line in written
    for line in ("before it is known", "4/4", "no self-edit: refused", "also deprecated", "broken", "session over"):
        assert line in written
    assert "after the run" not in written


def test_every_start_adds_to_the_file_under_a_header_of_its_own(tmp_path: Path) -> None:
    for number in range(3):
        with logged(found := config(tmp_path)) as log:
            log.begin(Store(found.dir))
            ours.info("start %d\nwith a second line", number)
    lines = text(tmp_path).splitlines()
    assert [line.split()[0] for line in lines].count("===") == 3
    assert [line.rpartition(": ")[2] for line in lines if "start" in line] == ["start 0", "start 1", "start 2"]
    assert lines.count("    with a second line") == 3
    with suppress(UserError), logged(found) as log:
        log.begin(Store(found.dir))
        raise UserError("nothing taught")
    assert text(tmp_path).endswith("ERROR seal_ray: session over: UserError: nothing taught\n")


def test_as_json_each_line_says_where_in_the_run_it_was_logged(tmp_path: Path) -> None:
    async def trial(task: str, key: str) -> None:
        with at(task=task, trial=key):
            await asyncio.sleep(0)
            await asyncio.to_thread(ours.warning, "%s is odd", task)

    async def round_() -> None:
        with at(round=2):
            await asyncio.gather(trial("t1", "k1"), trial("t2", "k2"))
        ours.warning("between rounds")

    with logged(found := config(tmp_path, "--run.logs", "json", "--run.name", "mine", "--run.seed", "4")) as log:
        log.begin(Store(found.dir))
        asyncio.run(round_())
        try:
            raise ValueError("a slip")
        except ValueError:
            theirs.exception("caught")
    _, first, second, between, caught, _ = entries(tmp_path)
    where = [{key: line.get(key) for key in ("run", "round", "task", "trial")} for line in (first, second, between)]
    assert where[:2] == [{"run": "mine-4", "round": 2, "task": f"t{n}", "trial": f"k{n}"} for n in (1, 2)]
    assert where[2] == {"run": "mine-4", "round": None, "task": None, "trial": None}
    assert (first["level"], first["logger"], first["message"]) == ("WARNING", ours.name, "t1 is odd")
    assert "ValueError: a slip" in str(caught["traceback"])


def test_a_message_that_comes_again_and_again_does_not_fill_the_disk(tmp_path: Path) -> None:
    with logged(found := config(tmp_path)) as log:
        log.begin(Store(found.dir))
        for number in range(10_000):
            theirs.warning("it is away, try %d", number)
        theirs.warning("x" * 10**6)
    lines = [line for line in text(tmp_path).splitlines() if "it is away" in line]
    assert len(lines) == 100 + 7  # 128, 256, ... 8192
    assert lines[-1].endswith("it is away, try 8191 (for the 8192th time; most are left out)")
    assert len(text(tmp_path)) < 50_000


def test_no_secret_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUDGE_ACCESS", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"hunter-of-{name}")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    options = json.dumps({"headers": {"api_key": "hunter-in-options"}, "words": ""})
    own = ["--grading.name", "tests.observe.test_parameters:Endpoint", "--grading.options", options]
    for style, name in (("text", "run.log"), ("json", "run.jsonl")):
        found = config(tmp_path, *own, "--sampling.key_env", "JUDGE_ACCESS", "--run.logs", style)
        with suppress(RuntimeError), logged(found) as log:
            theirs.warning("401 for Authorization: Bearer hunter-by-looks")
            log.begin(Store(found.dir))
            theirs.warning("%s %s", "hunter-of-JUDGE_ACCESS", "hunter-of-HF_TOKEN")
            theirs.warning("no answer from https://me:hunter-here@host/v1?token=hunter-there&x=1")
            theirs.warning("keys hunter-in-options and sk-hunter0123456789abcd are wrong, and disabled")
            raise RuntimeError("refused hunter-of-AWS_SECRET_ACCESS_KEY")
        written = (tmp_path / "logs" / name).read_text()
        assert "hunter" not in written
        for left in ("https://host/v1", "Bearer", "are wrong, and disabled", "RuntimeError: refused"):
            assert left in written


def test_a_full_disk_and_a_folder_that_cannot_be_written_are_said_once_and_hurt_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mounted(tmp_path / "disk", "16k") as disk:
        found = config(disk.folder / "run")
        with logged(found) as log:
            log.begin(Store(found.dir))
            for _ in range(100):
                theirs.warning("y" * 1000)
        assert caplog.text.count("the log is not written on: No space left on device; the run goes on") == 1
        disk.remount("size=1m")
        with logged(found) as log:
            log.begin(Store(found.dir))
        assert [line for line in text(disk.folder / "run").splitlines() if "===" in line][-1].startswith("===")
    caplog.clear()
    found = config(tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/logs").write_text("in the way")
    with logged(found) as log:
        log.begin(Store(found.dir))
        theirs.warning("unheard")
    assert caplog.text.count("the log is not written on:") == 1


def test_a_run_goes_on_without_a_log(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/logs").write_text("in the way")
    only = ("--evaluation.baselines", '["base"]', "--evaluation.samples", "0")
    found = run(small_run(tmp_path / "run", "--workers.address", "in-process", "--run.rounds", "0", *only))
    assert found.keys() == {"base"}


def test_that_it_was_stopped_is_the_last_that_a_person_reads(
    tmp_path: Path, terminal: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stopped(_: Session) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:  # which is not before that is said
            ours.warning("4 of 4 passages got no good question")

    found = small_run(tmp_path, "--workers.address", "in-process")
    domain = load_domain(found)
    with pytest.raises(Stopped), open_run(found, domain, identify(found, domain)) as opened:
        opened.drive(stopped, probe="")
    assert capsys.readouterr().err == f"seal-ray: SIGINT: {PROMISE}\n"
    assert "no good question" not in terminal.getvalue()
    assert "4 of 4 passages got no good question" in text(tmp_path)
