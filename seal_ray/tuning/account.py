"""What came of a tuning: a table, what fresh tasks say of it, and the lines for a config."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.cells import cell_len

from seal_ray.looking.words import NOTHING, columns, fitted, size
from seal_ray.plain import WIDTH, broken, counted
from seal_ray.record.summary import FEWEST, Interval, as_json, cells, interval
from seal_ray.selection.reward import TrialSummary, figure_of
from seal_ray.tuning.costs import Costs
from seal_ray.tuning.racing import front, lead
from seal_ray.tuning.space import Settings

MARGIN = 0.05
"""How far the 95 % interval of a difference may reach below zero where settings are said to be as good."""
OVERLAY = "# seal-ray tune: "
"""What a file of settings begins with."""
_SETTINGS = ("rank", "lr", "epochs", "alpha", "batch", "targets")
_FIGURES = ("front", "FLOPs", "bytes")
"""Columns that a narrow terminal may do without, the last one first."""

Known = dict[str, TrialSummary]
"""What came of the trials of some settings, by task."""


@dataclass(frozen=True)
class Tried:
    """Settings that were in the race."""

    settings: Settings
    reward: Interval
    over_start: float
    """How much more than the start on the same tasks."""
    flops: float
    """Of a trial's training; 0 where that is not worked out for this model."""
    bytes: int
    front: bool
    """Whether none that was tried earned as much for less."""


@dataclass(frozen=True)
class Compared:
    """Settings beside the start, on tasks that they were not chosen by."""

    settings: Settings
    gain: Interval
    """Of the difference in reward, task by task."""
    flops: float
    """How many times the start's; 0 where that is not worked out for this model."""
    bytes: float

    @property
    def better(self) -> bool:
        return self.gain.n >= FEWEST and self.gain.low > 0

    @property
    def as_good_for_less(self) -> bool:
        less = (self.flops, self.bytes) != (1, 1) and 0 < self.flops <= 1 and self.bytes <= 1
        return less and self.gain.n >= FEWEST and -MARGIN <= self.gain.low <= 0 <= self.gain.high

    @property
    def said(self) -> str:
        points = f"{100 * self.gain.accuracy:+.1f} points"
        if self.gain.n < FEWEST:
            return f"{points} at {self._cost}, on too few tasks to say anything"
        between = f"({100 * self.gain.low:+.1f} to {100 * self.gain.high:+.1f})"
        if self.better:
            return f"{100 * self.gain.accuracy:.1f} points more {between} at {self._cost}"
        if self.as_good_for_less:
            return f"equal reward {between} at {self._cost}"
        if self.gain.high < 0:
            return f"{-100 * self.gain.accuracy:.1f} points less {between} at {self._cost}"
        return f"not told apart, {points} {between} at {self._cost}"

    @property
    def _cost(self) -> str:
        if not self.flops:
            return "a cost that is not worked out for this model"
        if (self.flops, self.bytes) == (1, 1):
            return "equal cost"
        return f"{_change(self.flops, 'FLOPs')} and {_change(self.bytes, 'bytes')}"


@dataclass(frozen=True)
class Account:
    """A tuning that is over."""

    directory: str
    start: Settings
    tried: tuple[Tried, ...]
    """Those tried on most tasks first, the best of them first."""
    compared: tuple[Compared, ...]
    """Nothing, where none did better than the start in the race, or as well for less."""
    raced: int
    """Tasks that settings were chosen by."""
    fresh: int
    """Others, on which they were compared."""

    @property
    def chosen(self) -> Compared | None:
        """What beats the start: more reward before less cost."""
        better = [each for each in self.compared if each.better]
        return next(iter([*better, *(each for each in self.compared if each.as_good_for_less)]), None)

    @property
    def verdict(self) -> str:
        if found := self.chosen:
            return f"{found.said}, beside the settings it started from"
        return "nothing that was tried beats the settings it started from"

    @property
    def overlay(self) -> str:
        """The lines for a config: a file that `--overlay` takes."""
        found = self.chosen.settings if self.chosen else self.start
        lora, optim = found.lora, found.optim
        said = "\n".join(f"#{line[1:]}" for line in broken(self.verdict, OVERLAY))
        return (
            f"{said}\n"
            f"[trial.lora]\nrank = {lora.rank}\nalpha = {lora.alpha!r}\ntargets = {json.dumps(list(lora.targets))}\n\n"
            f"[trial.optim]\nlr = {optim.lr!r}\nepochs = {optim.epochs}\nbatch_size = {optim.batch_size}\n"
        )

    def lines(self, width: int = WIDTH) -> Iterator[str]:
        """The table, in lines of that width; what fresh tasks say, and the verdict."""
        yield from self._table(width)
        legend = "none on the same tasks earned as much for less; FLOPs: of a trial's training, in linear layers"
        yield from broken(legend, "front: ", width)
        if self.compared:
            others = counted(self.fresh, "other training task")
            yield from broken(f"held to the start on {others}, by which no settings were chosen:", width=width)
        for each in self.compared:
            yield from broken(f"{each.settings.name}: {each.said}", "  ", width)
        if not self.compared:
            raced = counted(self.raced, "task")
            none = f"over the race's {raced} none did better than the start, or as well for less"
            yield from broken(none, width=width)
        yield from broken(self.verdict, width=width)

    def _table(self, width: int) -> Iterator[str]:
        """Settings with what they came to; where a line has no room for both, first the ones and then the others."""
        names, figures = list(self.start.values()), ["tasks", "reward", "over start", "FLOPs", "bytes", "front"]
        settings = [names, *(list(each.settings.values().values()) for each in self.tried)]
        came = [figures, *map(self._figures, self.tried)]
        whole = columns([[*one, *other] for one, other in zip(settings, came, strict=True)])
        if max(map(cell_len, whole)) <= width:
            yield from whole
            return
        numbers = ["no.", *map(str, range(1, len(came)))]
        for rows, spare in ((settings, _SETTINGS), (came, _FIGURES)):
            yield from fitted([[number, *row] for number, row in zip(numbers, rows, strict=True)], spare, width)
            yield ""

    def _figures(self, each: Tried) -> list[str]:
        over = "start" if each.settings == self.start else f"{100 * each.over_start:+.1f}"
        costs = (f"{each.flops:.2e}", size(each.bytes)) if each.flops else (NOTHING, NOTHING)
        mean, between, tasks, failed = cells(each.reward)
        reward = f"{mean} ({between})" if each.reward.n >= FEWEST and not each.reward.void else mean
        reward += f", {failed} failed" if each.reward.failed and not each.reward.void else ""
        return [tasks, reward, over, *costs, "*" if each.front else ""]

    def as_json(self) -> dict[str, Any]:
        """All of it, settings as a config has them; null for what is not known, and for a choice that is the start."""
        return {
            "directory": self.directory,
            "start": asdict(self.start),
            "tried": [_tree(each, reward=_measured(each.reward)) for each in self.tried],
            "raced": self.raced,
            "fresh": self.fresh,
            "compared": [_tree(each, gain=_measured(each.gain), said=each.said) for each in self.compared],
            "chosen": asdict(self.chosen.settings) if self.chosen else None,
            "verdict": self.verdict,
            "overlay": self.overlay,
        }


def account_of(
    directory: str,
    raced: Mapping[Settings, Known],
    fresh: Mapping[Settings, Known],
    costs: Costs,
    tokens: float,
) -> Account:
    """The account of these trials, that of the start first; `tokens` are those of a trial's texts, once."""
    start, earned = next(iter(raced)), rewards(raced)
    best = front(earned, costs)
    tried = [
        Tried(
            each,
            figure_of(found),
            lead(earned, each, start),
            costs.flops(each) * tokens,
            costs.bytes(each),
            each in best,
        )
        for each, found in raced.items()
    ]
    tried.sort(key=lambda each: (-each.reward.n, -each.over_start, each.flops))
    compared = [_compared(each, start, rewards(fresh), costs) for each in fresh if each != start]
    on = len(next(iter(fresh.values()), ()))
    return Account(directory, start, tuple(tried), tuple(compared), len(raced[start]), on)


def rewards(known: Mapping[Settings, Known]) -> dict[Settings, dict[str, float]]:
    """What each earned, by task."""
    return {each: {task: found[task].reward for task in sorted(found)} for each, found in known.items()}


def _compared(one: Settings, start: Settings, earned: Mapping[Settings, Mapping[str, float]], costs: Costs) -> Compared:
    gain = interval([earned[one][task] - earned[start][task] for task in earned[start]])
    if not costs.shape:
        return Compared(one, gain, 0, 0)
    return Compared(one, gain, costs.flops(one) / costs.flops(start), costs.bytes(one) / costs.bytes(start))


def _change(times: float, what: str) -> str:
    if times == 1:
        return f"as many {what}"
    if times >= 2:
        return f"{times:.1f} times the {what}"
    return f"{100 * abs(1 - times):.0f} % {'fewer' if times < 1 else 'more'} {what}"


def _tree(each: Tried | Compared, **more: Any) -> dict[str, Any]:
    return {**asdict(each), "flops": each.flops or None, "bytes": each.bytes or None, **more}


def _measured(found: Interval) -> dict[str, Any]:
    (tree,) = as_json({"": found}).values()
    return {"mean": tree["accuracy"], **{name: tree[name] for name in ("low", "high", "n", "failed")}}
