"""A run at one moment as a person sees it: its stages, their rewards, what is waited for, how long is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from seal_ray.domains.registry import learns
from seal_ray.looking.pace import Pace, pace
from seal_ray.looking.seen import Seen
from seal_ray.looking.stages import Stage, is_whole, stages
from seal_ray.looking.words import NOTHING, columns, percent
from seal_ray.plain import counted, visible
from seal_ray.record.written import round_number
from seal_ray.report.words import duration
from seal_ray.rundir.tuned import going_on
from seal_ray.update.base import updates
from seal_ray.update.warm_start import WARM_START

_LOSSES = 5
_UNKNOWN = "running or stopped: there is a lease, and whether it is renewed is seen within half a minute"


@dataclass(frozen=True)
class Picture:
    """A run as it was when it was looked at."""

    place: str
    seen: Seen
    at_work: bool | None
    """Whether somebody is at work on it; None where that is not known yet."""
    losses: tuple[float, ...] = ()
    """Of the steps of an update under way, as far as they were kept."""
    still: float = 0.0
    """Seconds since anything came on record, counted from when the watch began."""

    @cached_property
    def stages(self) -> Sequence[Stage]:
        return stages(self.seen)

    @cached_property
    def pace(self) -> Pace:
        return pace(self.seen, self.stages)

    @cached_property
    def is_over(self) -> bool:
        """Whether nothing more is to come: where documents are learnt, or the record cannot say, once nobody works."""
        whole = is_whole(self.seen)
        if whole and not learns(self.seen.config):
            return True
        return whole is not False and self.at_work is False

    @property
    def state(self) -> str:
        if self.is_over:
            return "finished"
        return _UNKNOWN if self.at_work is None else "running" if self.at_work else "stopped"

    def lines(self) -> list[str]:
        """The whole picture, for a person."""
        run = self.seen.config.run
        rows = [(stage.name, progress(stage), percent(stage.reward)) for stage in self.stages]
        table = columns([("stage", "done", "mean reward"), *rows])
        said = [f"{run.name}, seed {run.seed}, in {self.place}: {self.state}", *table]
        if self.seen.questions:
            said.append(f"questions: a model wrote those of {counted(self.seen.questions, 'task')}")
        said.append(self.failures)
        return [visible(line) for line in [*said, *self.updates, self.waiting, self.left]]

    @property
    def failures(self) -> str:
        """How many trials failed, by the class of what went wrong."""
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(self.seen.failures.items()))
        return f"failures: {found or 'none'} of {counted(len(self.seen.outcomes), 'trial')}"

    @property
    def updates(self) -> list[str]:
        """The losses of each update that is done, and of one under way what was kept of it."""
        done = [
            f"{f'update of round {row.version}' if row.version else WARM_START}: "
            f"loss {_loss(row.first_loss)} to {_loss(row.last_loss)} in {duration(row.seconds)}"
            for row in self.seen.policies
        ]
        if self.losses:
            last = ", ".join(f"{loss:.3f}" for loss in self.losses[-_LOSSES:])
            return [*done, f"update under way: {counted(len(self.losses), 'step')} kept, the last losses {last}"]
        if self.updating:
            return [*done, f"update of round {self.updating} under way: its losses come on record when it ends"]
        return done

    @property
    def updating(self) -> int:
        """The round whose update is under way; 0 where none is."""
        numbers = {number for row in self.seen.kept if (number := round_number(row.stage))}
        return max(numbers - self.seen.versions, default=0) if updates(self.seen.config) else 0

    @property
    def waiting(self) -> str:
        """What the run waits for."""
        if self.is_over:
            return "waiting for: nothing, the run has ended"
        if self.at_work is False:
            command = going_on(self.place) if self.seen.tunes else f"seal-ray resume {self.place}"
            return f"waiting for: somebody to go on with it; `{command}` does"
        begun = [f"{stage.name} ({stage.left} to come)" for stage in self.stages if stage.begun and stage.left]
        coming = "the training on all passages" if learns(self.seen.config) else "workers to begin"
        still = f"; nothing has come on record for {duration(self.still)}" if self.still >= 60 else ""
        return f"waiting for: {'; '.join(begun) or f'{coming}, or the next stage'}{still}"

    @property
    def left(self) -> str:
        """How long it will take, and what that does not count."""
        if self.is_over:
            return "left: nothing"
        uncounted = ", ".join(self.pace.without)
        without = f"; not counted, for want of a pace or a size: {uncounted}" if uncounted else ""
        if self.pace.seconds is None:
            return f"left: not known yet{without}"
        most = "at most about" if self.pace.at_most else "about"
        return f"left: {most} {duration(self.pace.seconds)} of work at the pace of the last minutes{without}"


def _loss(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def progress(stage: Stage) -> str:
    """Done of how much."""
    if stage.total is None:
        return f"{stage.done} so far"
    return f"{stage.done} of {'at most ' if stage.at_most and stage.left else ''}{stage.total}"


def news(before: Picture | None, now: Picture) -> list[str]:
    """The lines that a log still lacks: stages that have advanced, and a state that has changed."""
    known = {stage.name: progress(stage) for stage in before.stages} if before else {}
    moved = [stage for stage in now.stages if stage.begun and known.get(stage.name) != progress(stage)]
    said = [f"{stage.name}: {progress(stage)}{_reward(stage)}" for stage in moved]
    if before is None or before.state != now.state:
        said.insert(0, f"{now.place}: {now.state}")
        said += [now.waiting] if now.at_work is False and not now.is_over else []
    if before and before.seen.failures != now.seen.failures:
        said.append(now.failures)
    if moved and now.at_work and not now.is_over:
        said.append(now.left)
    return [visible(line) for line in said]


def _reward(stage: Stage) -> str:
    return "" if stage.reward is None else f", mean reward {stage.reward:.1%}"
