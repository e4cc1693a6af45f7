"""What a run's parts and libraries log, as a file below its directory; the terminal keeps what a person must see.

    with logged(config) as log:  # from here on lines are caught
        log.begin(store)         # and from here on written; each start of the run adds to the file

A line says where in the run it was logged, as far as that is known: code that knows says so with `at`.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import seal_ray
from seal_ray.config import Config
from seal_ray.observe.files import Appended, Lines, Uploaded
from seal_ray.observe.secrets import Redactor
from seal_ray.plain import first_line, visible
from seal_ray.record.storage import Store
from seal_ray.stopping import Stopped
from seal_ray.types import UserError

FOLDER = "logs"
OURS = "seal_ray"
"""The logger of progress; those below it are of the project's modules."""
_OF_THEIR_OWN = ("ray", "vllm")
"""Loggers whose lines may not reach the root."""
_EARLY = 1000
"""Lines that are kept until it is known where they go."""
_OFTEN = 100
"""Lines of one place in the code that are written one by one; of more, those whose number is a power of two."""
_LONGEST = 20_000
"""Characters of one message."""

_AT: ContextVar[Mapping[str, str | int]] = ContextVar("seal_ray_at", default={})  # noqa: B039 - never changed


@contextmanager
def at(**keys: str | int) -> Iterator[None]:
    """What is logged in this context, and in what it starts, belongs to this round, task or trial."""
    token = _AT.set({**_AT.get(), **keys})
    try:
        yield
    finally:
        _AT.reset(token)


class RunLog(logging.Handler):
    """Writes what is logged while a run is open. Whatever keeps it from writing is said once, and the run goes on."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._json, self._run = config.run.logs == "json", f"{config.run.name}-{config.run.seed}"
        self._redact = Redactor(config)
        self._said: Counter[tuple[str, int]] = Counter()
        self._early: list[bytes] = []
        self._lines: Lines | None = None
        self._failed = False
        self.alone = False
        """Whether a person is shown nothing more: what is still logged is for the file."""

    def begin(self, store: Store) -> None:
        """Write into this directory from now on, what was logged before first."""
        name = "run.jsonl" if self._json else "run.log"
        self.acquire()
        try:
            self._lines = Appended(store.local / FOLDER / name) if store.local else Uploaded(store.url, FOLDER, name)
            about = f"seal_ray {seal_ray.__version__}, Python {platform.python_version()}"
            host = f"process {os.getpid()} on {platform.node()}"
            self._write(self._line(self._entry("INFO", f"session: {about}, {host}"), mark="=== "))
            for line in self._early:
                self._write(line)
        finally:
            self._early = []
            self.release()

    @property
    def begun(self) -> bool:
        """Whether lines are written, so that whoever looks finds them."""
        return self._lines is not None and not self._failed

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "_in_log_of", None) is self:  # it came by its library's own logger, too
            return
        record._in_log_of = self
        self._said[place] = often = self._said[(place := (record.pathname, record.lineno))] + 1
        if often > _OFTEN and often & (often - 1):
            return
        said = _message(record) + (f" (for the {often}th time; most are left out)" if often > _OFTEN else "")
        entry = self._entry(record.levelname, said, record.name, record.created)
        if record.exc_info and record.exc_info[0]:
            entry["traceback"] = self._redact("".join(traceback.format_exception(*record.exc_info)))[-_LONGEST:]
        self._write(self._line(entry))

    def end(self, error: BaseException | None) -> None:
        """Write how the session ended, and have all of it lie where it belongs."""
        entry = self._entry("INFO", "session over")
        if error is not None:
            entry |= self._entry("ERROR", f"session over: {type(error).__name__}: {first_line(error)}")
            if not isinstance(error, UserError | Stopped):
                entry["traceback"] = self._redact("".join(traceback.format_exception(error)))[-_LONGEST:]
        self.acquire()
        try:
            self._write(self._line(entry))
            if self._lines:
                self._lines.close()
        except (OSError, UserError) as problem:
            self._give_up(problem)
        finally:
            self._lines = None
            self.release()

    def _entry(self, level: str, message: str, logger: str = OURS, when: float | None = None) -> dict[str, Any]:
        stamp = datetime.fromtimestamp(time.time() if when is None else when, UTC).isoformat(timespec="milliseconds")
        message = visible(self._redact(message[:_LONGEST]))
        return {"time": stamp, "level": level, "logger": logger, "message": message, "run": self._run, **_AT.get()}

    def _line(self, entry: dict[str, Any], mark: str = "") -> bytes:
        if self._json:
            return json.dumps(entry).encode() + b"\n"
        where = " ".join(f"{key}={entry[key]}" for key in _AT.get() if key in entry)
        said = f"{mark}{entry['time']} {entry['level']} {entry['logger']}{where and f' [{where}]'}: {entry['message']}"
        said += f"\n{visible(entry['traceback']).rstrip()}" if "traceback" in entry else ""
        return said.replace("\n", "\n    ").encode(errors="replace") + b"\n"  # no message can pass for another line

    def _write(self, line: bytes) -> None:
        if self._lines is None:
            if len(self._early) < _EARLY:
                self._early.append(line)
        elif not self._failed:
            try:
                self._lines.write(line)
            except (OSError, UserError) as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            logging.getLogger(__name__).warning("the log is not written on: %s; the run goes on", first_line(error))


class _Shown(logging.Filter):
    """What another handler shows while a run is logged: no more than before, and to a person what to act on."""

    def __init__(self, log: RunLog, least: int, to_a_person: bool) -> None:
        super().__init__()
        self._log, self._least, self._person = log, least, to_a_person

    def filter(self, record: logging.LogRecord) -> bool:
        if self._person and self._log.alone:
            return False
        ours = record.name == OURS or record.name.startswith(f"{OURS}.")
        if ours and record.levelno < self._least:
            return False
        if not self._person or not self._log.begun or record.name == OURS:
            return True
        return record.levelno >= (logging.WARNING if ours else logging.ERROR)


@contextmanager
def logged(config: Config) -> Iterator[RunLog]:
    """While this context lasts, what is logged by anybody in this process is the run's."""
    log, root, ours = RunLog(config), logging.getLogger(), logging.getLogger(OURS)
    level, least = ours.level, ours.getEffectiveLevel()
    alone = [] if root.handlers or logging.lastResort is None else [logging.lastResort]
    for handler in alone:  # it shows warnings where nobody else does, and will not with one that does
        root.addHandler(handler)
    filters = [(each, _Shown(log, least, getattr(each, "to_a_person", False))) for each in root.handlers]
    for handler, shown in filters:
        handler.addFilter(shown)
    loggers = [root, *map(logging.getLogger, _OF_THEIR_OWN)]
    for logger in loggers:
        logger.addHandler(log)
    ours.setLevel(logging.DEBUG)
    logging.captureWarnings(True)
    failed: BaseException | None = None
    try:
        yield log
    except BaseException as error:
        failed = error
        raise
    finally:
        logging.captureWarnings(False)
        ours.setLevel(level)
        for logger in loggers:
            logger.removeHandler(log)
        for handler, shown in filters:
            handler.removeFilter(shown)
        for handler in alone:
            root.removeHandler(handler)
        log.end(failed)


def _message(record: logging.LogRecord) -> str:
    with suppress(Exception):  # a slip in somebody's call of the logger, which other handlers say
        return record.getMessage()
    return str(record.msg)
