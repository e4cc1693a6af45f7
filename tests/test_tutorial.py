"""The tutorial is followed: each of its commands is run, in its order, and prints what it shows."""

from __future__ import annotations

import io
import logging
import re
import runpy
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.record.journal import Journal
from seal_ray.record.rows import PlannedRow
from seal_ray.record.storage import Store
from tests.cluster.autoscaling import reached
from tests.console import ROOT, Step, files, steps, unlike
from tests.learning.parts import QUESTIONS, settings
from tests.runs import rows_on_disk
from tests.servers import serving
from tests.warm import Command

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs/tutorial.md"
ON_RAY = re.compile(r"(ray|export) |.*(://|~)")
"""What `tests/cluster/test_jobs.py` runs, or `tests/test_commands.py` says why nobody does."""
HERE = [step for step in steps(PAGE) if not ON_RAY.match(step.command)]
TEXT = "The lantern house has nine lanterns. They burn oil of rape. The keeper is called Isolde Wren.\n"


class Shell:
    """What a person's shell does, as far as the tutorial needs one."""

    def __init__(self, folder: Path, model: Callable[[], list[str]]) -> None:
        self._folder, self._model = folder, model
        self._behind: Command | None = None
        self._run = folder / "runs/microworld-2"

    def run(self, command: str) -> str:
        if command.endswith("&"):
            arguments = shlex.split(command.removesuffix("&"))[1:]
            self._behind = Command(arguments, self._folder / "behind.log")
            return ""
        if command == "kill -9 $!":
            assert self._behind
            assert reached(lambda: rows_on_disk(self._run) > 0 or self._behind.poll() is not None, 600)  # type: ignore[union-attr]
            self._behind.send_signal(signal.SIGKILL)
            self._behind.wait()
            return ""
        program, *arguments = shlex.split(command)
        if program != "seal-ray":
            return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout
        return self._seal_ray(self._in_miniature(arguments))

    def _in_miniature(self, arguments: list[str]) -> list[str]:
        """What stands in for what is not here: a key that a reader chooses, and the model of the hub with its time."""
        if arguments[-1] == "KEY":
            row = next(row for row in Journal(Store("runs/microworld-1")).read(PlannedRow) if row.stage == "round 1")
            return [*arguments[:-1], row.trial[:8]]
        if arguments[0] == "learn":
            return [*arguments, *self._model()]
        return arguments

    @staticmethod
    def _seal_ray(arguments: list[str]) -> str:
        printed, root, code = io.StringIO(), logging.getLogger(), None
        handlers, level, root.handlers = root.handlers, root.level, []  # the log goes to the terminal there is now
        try:
            with redirect_stdout(printed), redirect_stderr(printed):
                main(arguments)
        except SystemExit as end:
            code = end.code
        finally:
            root.handlers = handlers
            root.setLevel(level)
        assert not code, printed.getvalue()
        return printed.getvalue()


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Step, str]]:
    """What each command of the tutorial printed, in a folder that has what a checkout has."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, text in files(PAGE).items():
        (folder / name).write_text(text)
    shutil.copytree(ROOT / "jobs", folder / "jobs")
    (folder / "docs").mkdir()
    (folder / "docs/serving.md").write_text(TEXT)
    with serving(QUESTIONS) as server, pytest.MonkeyPatch.context() as patch:

        def model() -> list[str]:
            runpy.run_path(str(ROOT / "jobs/tiny_model.py"))["make"](str(folder / "tiny"), hidden=64, layers=1)
            return ["--model", str(folder / "tiny"), *settings(server.url)]

        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("COLUMNS", "200")
        shell = Shell(folder, model)
        yield {step: shell.run(step.command) for step in HERE}


@pytest.mark.parametrize("step", HERE, ids=str)
def test_a_command_of_the_tutorial_prints_what_is_shown(printed: dict[Step, str], step: Step) -> None:
    assert unlike(step.shown, printed[step]) == "", printed[step]


def test_what_is_shown_and_not_printed_would_be_found() -> None:
    shown = ["a table", "…", "│ base │ …% │ 6 │", "the end"]
    assert unlike(shown, "a table\n\n-----\n│ base │  1.4% │ 6     │\nthe end\n") == ""
    assert unlike(shown, "a table\n│ base │ 1.4% │ 7 │\nthe end\n") == "│ base │ …% │ 6 │"
    assert unlike(shown, "a table\n│ base │ 1.4% │ 6 │\nmore\nthe end\n") == "the end"
    assert unlike(["one"], "one\ntwo") == "not shown: two"
    assert unlike([], "an error") == "not shown: an error"
