"""Everything that runs measured, held to one baseline, round or way of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seal_ray.looking.beside import in_turn
from seal_ray.looking.comparison import in_points
from seal_ray.looking.words import columns
from seal_ray.plain import visible
from seal_ray.record.differences import Difference, held_to
from seal_ray.record.journal import Journal
from seal_ray.record.summary import Measured
from seal_ray.types import UserError


@dataclass(frozen=True)
class Over:
    """What every other came to over one, task by task."""

    name: str
    others: Mapping[str, Mapping[str, Difference]]
    """By when passages in turn were asked; of baselines and rounds there is one, which needs no name."""

    def lines(self) -> list[str]:
        """A table for each."""
        said = list[str]()
        for when, others in self.others.items():
            what = f"{when}, in points, by passage" if when else "in points, by task"
            said += [f"over {visible(self.name)}, {what}:"]
            said += columns([(name, in_points(each)) for name, each in others.items()])
        return said

    def as_json(self) -> dict[str, Any]:
        plain = {when: {name: vars(each) for name, each in others.items()} for when, others in self.others.items()}
        return {self.name: plain.get("", plain)}


def over(name: str, arms: Sequence[Mapping[str, Measured]], journals: Sequence[Journal]) -> Over:
    """The arms of several runs held to that of this name, or the ways in which their passages in turn entered."""
    if any(name in run for run in arms):
        return Over(name, {"": held_to(name, arms)})
    turns = [in_turn(journal) for journal in journals]
    ways = dict.fromkeys(way for run in turns for asked in run.values() for way in asked)
    if name in ways:
        return Over(name, {when: held_to(name, [run[when] for run in turns]) for when in turns[0]})
    there = ", ".join(dict.fromkeys([*(arm for run in arms for arm in run), *ways]))
    raise UserError(f"--over {name!r}: no such baseline, round or way was measured; there are: {there}")
