"""How a command ends that cannot go on: one line that says why, and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from seal_ray.plain import visible
from seal_ray.stopping import Stopped, stoppable
from seal_ray.types import UserError

DEBUG = "--debug"


@contextmanager
def said_in_one_line(arguments: Sequence[str] = (), when_stopped: str = "stopped") -> Iterator[list[str]]:
    """Turn what the user can set right, and being told to stop, into a line and an exit code; bugs keep tracebacks.

    The arguments come back without `--debug`, under which the user's errors keep theirs too.
    """
    try:
        with stoppable(when_stopped):
            yield [argument for argument in arguments if argument != DEBUG]
    except UserError as error:
        if DEBUG in arguments:
            raise
        print(visible(f"seal-ray: {error}"), file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        stopped.leave()
