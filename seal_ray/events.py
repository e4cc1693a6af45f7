"""What happens in a run, told to whoever watches: the record, the progress bars, a tracker, an observer of one's own.

class Losses:
    def on(self, event: Event) -> None:
        if isinstance(event, PolicyRow):
            print(event.version, event.last_loss)
    def close(self) -> None: ...

run(config, Losses())
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from seal_ray.record.rows import Row

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageBegan:
    """A stage has begun, with `total` pieces of work ahead of it; stages overlap."""

    stage: str
    total: int


@dataclass(frozen=True)
class Advanced:
    """Some pieces of a stage's work are done."""

    stage: str
    by: int = 1


def progress_name(stage: str, arm: str) -> str:
    """What progress calls the trials of a stage; each arm of the evaluation is one of its own."""
    return f"evaluation: {arm}" if stage == "evaluation" else f"{stage}: trials"


@dataclass(frozen=True)
class UpdateTrained:
    """The loss of every step of the update that made a version of the policy."""

    version: int
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Measured:
    """All that is measured on held-out tasks under a version of the policy has been; its rows are on disk."""

    SAVED_AT_ONCE: ClassVar[bool] = True

    version: int


@dataclass(frozen=True)
class Ended:
    """All that the run was to do is done, and on disk; one that stops before its time does not say so."""

    SAVED_AT_ONCE: ClassVar[bool] = True


Event = Row | StageBegan | Advanced | UpdateTrained | Measured | Ended
"""Whatever goes on record is an event as well: its row."""


class Observer(Protocol):
    """Is told of every event, in the driver, in order. It must return at once."""

    def on(self, event: Event) -> None: ...

    def close(self) -> None:
        """The run is over, or stops; said once."""
        ...


class Events:
    """Tells every observer. The record comes first, and its errors end the run; another's cost it its place."""

    def __init__(self, record: Observer | None = None, observers: Iterable[Observer] = ()) -> None:
        self.record = record
        self._observers = list(observers)

    def add(self, observers: Iterable[Observer]) -> None:
        """Tell these too, from now on."""
        self._observers += observers

    def emit(self, event: Event) -> None:
        if self.record:
            self.record.on(event)
        for observer in [*self._observers]:
            try:
                observer.on(event)
            except Exception as error:
                self._leave_out(observer, error)

    def close(self) -> None:
        """Say that the run is over, to each once; nobody is told of what still comes."""
        observers, self._observers = self._observers, []
        for observer in observers:
            try:
                observer.close()
            except Exception as error:
                logger.warning("%s", _why(observer, error))

    def _leave_out(self, observer: Observer, error: Exception) -> None:
        self._observers.remove(observer)
        logger.warning("%s; it is told no more, the run goes on", _why(observer, error))


def _why(observer: Observer, error: Exception) -> str:
    return f"{type(observer).__name__}: {type(error).__name__}: {error}"
