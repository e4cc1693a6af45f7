"""The command `seal-ray methods` in a process of its own, which ends itself with SIGKILL before a row is entered."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.warm import FORKING


def measured(arguments: Sequence[str], said: Path, table: str = "", number: int = 0, flushed: bool = True) -> int:
    """How the command ended, in a process forked from a warm one; what it printed is in `said`.

    It dies when this table's row of this number is about to be entered, once all that was before is on disk (or without
    that: then it loses what was entered within the last second); without a table it comes to its end.
    """
    process = FORKING.Process(target=_measure, args=([*arguments], said, table, number, flushed))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _measure(arguments: Sequence[str], said: Path, table: str, number: int, flushed: bool) -> None:
    code = 70
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        _kill_before(table, number, flushed)
        code = _command(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _command(arguments: Sequence[str]) -> int:
    import sys

    from seal_ray.cli.app import main

    sys.stdout = os.fdopen(1, "w")  # Python's own was made before it went to the file
    try:
        main(["methods", *arguments, "--json", "--quiet"])
    except SystemExit as end:
        sys.stdout.flush()
        return end.code if isinstance(end.code, int) else 1
    return 0


def _kill_before(table: str, number: int, flushed: bool) -> None:
    from seal_ray.record.journal import Journal

    left, usual = [number], Journal.append

    def append(self: Journal, name: str, row: dict[str, Any]) -> None:
        left[0] -= name == table
        if table and left[0] == 0:
            if flushed:
                self.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        usual(self, name, row)

    Journal.append = append  # type: ignore[method-assign]
