"""How a command ends that cannot go on: one line that says why, and exit code 2."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from seal_ray.plain import first_line, visible
from seal_ray.plugins import blaming
from seal_ray.stopping import Stopped, stoppable
from seal_ray.types import UserError

DEBUG = "--debug"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_OF_RUST = "(os error "
"""In the message of what a system call ended in where safetensors or tokenizers made it: exceptions of their own."""


@contextmanager
def said_in_one_line(arguments: Sequence[str] = (), when_stopped: str = "stopped") -> Iterator[list[str]]:
    """Turn what the user can set right, and being told to stop, into a line and an exit code; bugs keep tracebacks.

    A disk without room, wherever that is met, is the user's to set right, and so are a folder that is gone below the
    command, and what a user's own module raises.

    The arguments come back without `--debug`, under which the user's errors keep theirs too.
    """
    try:
        with stoppable(when_stopped), blaming():
            yield [argument for argument in arguments if argument != DEBUG]
    except UserError as error:
        if DEBUG in arguments:
            raise
        _end(f"{error}")
    except OSError as error:
        gone = isinstance(error, FileNotFoundError) and _folder_is_gone()
        if not (gone or error.errno in _NO_ROOM) or DEBUG in arguments:
            raise
        if gone:
            _end("the folder that this command was given in was moved or removed; go to one that is there (cd)")
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror}; make room, then give the same command")
    except Stopped as stopped:
        stopped.leave()


def _folder_is_gone() -> bool:
    """Whether nothing is left of the folder that relative paths start at."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _end(line: str) -> NoReturn:
    print(visible(f"seal-ray: {line}"), file=sys.stderr)
    sys.exit(2)


@contextmanager
def writing(where: str) -> Iterator[None]:
    """A context for writing what was asked for: a full disk, or one that may only be read, is told in a line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{where}: cannot be written: {first_line(error)}") from None
    except UserError:  # what was to be read, say
        raise
    except Exception as error:
        if _OF_RUST not in str(error):
            raise
        raise UserError(f"{where}: cannot be written: {first_line(error)}") from None
