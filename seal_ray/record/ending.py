"""Why a run stopped before its end, as a file in its directory, for whoever looks later; gone once it goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from seal_ray.plain import first_line, one_line
from seal_ray.record.lease import Lost
from seal_ray.record.storage import Store
from seal_ray.stopping import Stopped
from seal_ray.types import UserError

FILE = "stopped.json"
_LONGEST = 600


@dataclass(frozen=True)
class Ending:
    """How the last process that was at work here ended, where that was before the run's end."""

    why: str
    when: float
    """Seconds since 1970."""


@contextmanager
def noted(store: Store) -> Iterator[None]:
    """While this context lasts the run is under way; what ends it before its time is written down.

    Only for who holds the directory. A process that is killed outright writes nothing.
    """
    if store.exists(FILE):
        store.delete(FILE)
    try:
        yield
    except Lost:  # another driver is at work here now
        raise
    except BaseException as error:
        with suppress(UserError):  # whatever ended the run may keep this from being written too
            note(store, _why(error))
        raise


def note(store: Store, why: str) -> None:
    """Write down why the run ends before its time."""
    store.write(FILE, json.dumps(asdict(Ending(why, time.time()))).encode())


def ending(store: Store) -> Ending | None:
    """Why the run stopped; None where it goes on, has ended, or was killed."""
    try:
        tree = json.loads(store.read(FILE))
        return Ending(str(tree["why"]), float(tree["when"]))
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _why(error: BaseException) -> str:
    if isinstance(error, Stopped):
        return one_line(error.why, _LONGEST)
    if isinstance(error, UserError):
        return one_line(str(error), _LONGEST)
    return f"{type(error).__name__}: {first_line(error)}"
