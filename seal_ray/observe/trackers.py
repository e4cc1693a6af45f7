"""The figures of a run, told to the trackers that its config names: each figure once, however often the run was killed.

A tracker is told what is on record and nothing else. What the journal held before this process is turned into figures
first, then every row once it is on disk; and each tracker is asked what it holds, and told the rest. So what it had
not written yet when a run was killed is told again, and nothing comes twice, or with a value that no row stands for.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from seal_ray.config import Config
from seal_ray.events import Ended, Event, Measured
from seal_ray.observe import secrets
from seal_ray.observe.figures import Figure, Figures
from seal_ray.observe.outlet import Outlet
from seal_ray.observe.sinks.base import Sink, TrackedRun
from seal_ray.record.journal import Journal, Rows
from seal_ray.record.storage import Store

logger = logging.getLogger(__name__)

ID = "tracked-as"
"""The file of a run's directory that says by which name trackers know the run."""
_ENDED, _STOPPED = 30.0, 2.0
"""Seconds that trackers have at the end of a run; one that is told to stop should not be held up."""


class Trackers:
    """Tells every tracker of a run, as one of its observers."""

    def __init__(
        self, config: Config, store: Store, journal: Journal, sinks: Mapping[str, Callable[[TrackedRun], Sink]]
    ) -> None:
        self._figures, self._ended = Figures(), False
        self._order = threading.Lock()  # rows come from whichever thread wrote them
        earlier = self._figures.of({table: _rows(journal, table) for table in Figures.COLUMNS})
        run = TrackedRun(_id(store), f"{config.run.name}-{config.run.seed}", parameters(config), store.local)
        self._outlets = [Outlet(name, _opener(sink, run), earlier) for name, sink in sinks.items()]
        journal.tell_of_saved(self._saved)

    def on(self, event: Event) -> None:
        match event:
            case Measured(version):
                self._tell(lambda: self._figures.measured(version))
            case Ended():
                self._ended = True
                self._tell(self._figures.ended)

    def close(self) -> None:
        for outlet in self._outlets:
            outlet.close(self._ended)
        until = time.monotonic() + (_ENDED if self._ended else _STOPPED)
        for outlet in self._outlets:
            outlet.join(max(0.0, until - time.monotonic()))

    def _saved(self, rows: Rows) -> None:
        """The journal's writer must not stumble over what is only shown."""
        try:
            self._tell(lambda: self._figures.of(rows))
        except Exception:
            logger.exception("trackers: these rows are not shown")

    def _tell(self, figures: Callable[[], list[Figure]]) -> None:
        with self._order:
            found = figures()
            for outlet in self._outlets:
                outlet.tell(found)


def parameters(config: Config) -> dict[str, str]:
    """Every setting of a run as trackers are told it: without keys, tokens, and what goes with an address."""
    settings = secrets.settings_of(config)
    keys = secrets.keys(settings)
    found = {n: secrets.IN_URL.sub("", str(value)) for n, value in settings.items() if not secrets.is_secret(n)}
    return {name: value for name, value in found.items() if not any(key in value for key in keys)}


def _opener(sink: Callable[[TrackedRun], Sink], run: TrackedRun) -> Callable[[], Sink]:
    return lambda: sink(run)


def _rows(journal: Journal, table: str) -> Iterator[dict[str, Any]]:
    """A table's rows with the columns that figures are made of: texts stay on disk."""
    for batch in journal.table(table).select(list(Figures.COLUMNS[table])).to_batches(max_chunksize=1000):
        yield from batch.to_pylist()


def _id(store: Store) -> str:
    """The name by which trackers know this run, made when it is first told to one."""
    store.create(ID, uuid.uuid4().hex[:16].encode())
    return store.read(ID).decode()
