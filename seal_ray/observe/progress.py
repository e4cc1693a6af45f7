"""What a person sees while a run goes on: bars on a terminal, a line now and then in a log, or nothing."""

from __future__ import annotations

import logging
import os
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.progress import Task as Bar
from rich.text import Text

from seal_ray.events import Advanced, Event, StageBegan
from seal_ray.plain import visible

logger = logging.getLogger("seal_ray")


def start_log(quiet: bool = False) -> None:
    """Write the log to the terminal; only its warnings when told to be quiet, or where bars are shown."""
    level = logging.WARNING if quiet or sys.stderr.isatty() else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # no warning about a default that will change
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Plain(handler.formatter))
        if getattr(handler, "stream", None) is sys.stderr:
            handler.to_a_person = True  # type: ignore[attr-defined]  # which `observe.log` asks for
    logging.getLogger("httpx").setLevel(logging.WARNING)


class _Plain(logging.Formatter):
    """Another's lines without what a terminal would obey: much of what is logged was written by models and servers."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return visible(self._inner.format(record))


class Progress(ABC):
    """Shows the pieces of named stages, several of them at a time."""

    def on(self, event: Event) -> None:
        match event:
            case StageBegan(stage, total):
                self.begin(stage, total)
            case Advanced(stage, by):
                self.advance(stage, by)

    @abstractmethod
    def begin(self, stage: str, total: int) -> None: ...

    @abstractmethod
    def advance(self, stage: str, by: int = 1) -> None: ...

    def close(self) -> None:  # noqa: B027 - only bars on a terminal have something to close
        """Leave the terminal as it was."""


def progress(quiet: bool = False) -> Progress:
    """Bars when the output is a terminal, log lines when it is not, nothing when told to be quiet."""
    if quiet:
        return Silent()
    return TerminalProgress() if sys.stderr.isatty() else LogProgress()


class Silent(Progress):
    def begin(self, stage: str, total: int) -> None: ...

    def advance(self, stage: str, by: int = 1) -> None: ...


class _Rate(ProgressColumn):
    def render(self, task: Bar) -> Text:
        speed = task.finished_speed or task.speed
        return Text(pace(speed) if speed else "", style="dim")


def pace(rate: float) -> str:
    """So many a second, or where that rounds to little, a minute."""
    return f"{rate:.1f}/s" if rate >= 0.1 else f"{60 * rate:.1f}/min"


class TerminalProgress(Progress):
    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
        )
        self._ids: dict[str, TaskID] = {}
        self._bars.start()

    def begin(self, stage: str, total: int) -> None:
        if len(self._bars.tasks) >= self._bars.console.height - 2:
            self._scroll()
        self._ids[stage] = self._bars.add_task(stage, total=total)

    def advance(self, stage: str, by: int = 1) -> None:
        if self._ids[stage] in self._bars.task_ids:
            self._bars.advance(self._ids[stage], by)

    def _scroll(self) -> None:
        """Leave the bars of what is over to the lines above: of more than fit a screen the last are not shown."""
        if over := [bar for bar in self._bars.tasks if bar.finished]:
            self._bars.console.print(self._bars.make_tasks_table(over))
        for bar in over:
            self._bars.remove_task(bar.id)

    def close(self) -> None:
        self._bars.stop()


@dataclass
class _Count:
    total: int
    done: int = 0
    start: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)


class LogProgress(Progress):
    """A line when a stage begins and ends, and at most every ten seconds between."""

    def __init__(self, every: float = 10.0) -> None:
        self._every = every
        self._counts: dict[str, _Count] = {}

    def begin(self, stage: str, total: int) -> None:
        self._counts[stage] = _Count(total)
        logger.info("%s: %d to do", stage, total)

    def advance(self, stage: str, by: int = 1) -> None:
        count = self._counts[stage]
        count.done += by
        now = time.monotonic()
        if count.done < 1:  # what turned out to be in more pieces was taken back first: there is no pace to tell yet
            return
        if count.done < count.total and now - count.told < self._every:
            return
        count.told = now
        rate = count.done / max(now - count.start, 1e-9)
        left = (count.total - count.done) / rate
        logger.info("%s: %d/%d, %s, %.0f s left", stage, count.done, count.total, pace(rate), left)
