"""A run that goes on with more passages in turn: those that it had come first and say the same, and more come then.

What was learnt of it is on record under names that no later passage is part of, so that only what is new is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seal_ray.config import Config, difference
from seal_ray.domains.registry import option_kinds
from seal_ray.record.journal import Journal
from seal_ray.record.rows import RetractedRow
from seal_ray.record.storage import Store
from seal_ray.rundir.frozen import Drawn, drawn_before
from seal_ray.rundir.identity import Identity, comparable
from seal_ray.sources import GROWS, marked


@dataclass(frozen=True)
class Passages:
    """The passages that a run is to have in turn."""

    config: Config
    drawn: Drawn | None
    """None where they were not looked at."""

    def may_go_on(self, before: Identity, now: Identity) -> bool:
        """Whether nothing but how many passages there are, and where they are read from, is not as it was."""
        passages = int(before.settings["continual"]["passages"])
        if not self.config.continual.sequences or self.config.continual.passages < passages:
            return False
        same = not difference(_but_for_how_many(before.settings), _but_for_how_many(now.settings))
        kind = option_kinds(self.config.domain.name, self.config.grading.name)["domain"]
        grows = {f"domain.options.{name}" for name in marked(kind, GROWS)}
        contents = before.contents, comparable(before.contents, now.contents)
        others = [{k: v for k, v in each.items() if k not in grows} for each in contents]
        return same and others[0] == others[1] and before.decided == now.decided

    def refused(self, store: Store) -> str:
        """Why the run of this directory cannot go on with them, in a line; empty where it can."""
        before, now = drawn_before(store), self.drawn
        if now is None:
            return ""
        if before is None or not before.orders or not before.each:
            return "it was begun by an older version, which did not write down what its passages say"
        if any(Journal(store).read(RetractedRow)):
            return "a lesson was taken out of it, and would be in the policies that learn more"
        if self.config.run.rounds and before.training != now.training:  # else none is trained on, at most a skill is
            return "its training tasks would be others"
        said = zip(before.held_out, before.each, strict=True)
        if line := _first_other([*said], [*zip(now.held_out, now.each, strict=True)]):
            return line
        if any(order != later[: len(order)] for order, later in zip(before.orders, now.orders, strict=True)):
            return (
                "drawn orders are of all that is held out, and begin otherwise where that is more; raise "
                'continual.passages alone, or begin a run with continual.order = "given"'
            )
        together = self.config.evaluation.joint or self.config.evaluation.joint_methods
        if together and len(now.held_out) > len(before.held_out):
            return "held-out passages are also learnt together (evaluation.joint, joint_methods)"
        return ""


def _first_other(before: Sequence[tuple[str, str]], now: Sequence[tuple[str, str]]) -> str:
    """Says which passage, by its place, is the first that differs from before; empty where none does."""
    of = f"of the {len(before)} that it was begun with"
    for number, (id_, said) in enumerate(before, 1):
        if number > len(now):
            return f"passage {number} {of}, {id_!r}, is gone"
        if now[number - 1][0] != id_:
            return f"passage {number} {of} was {id_!r}, and {now[number - 1][0]!r} comes there"
        if now[number - 1][1] != said:
            return f"passage {number} {of}, {id_!r}, says or asks something else"
    return ""


def _but_for_how_many(settings: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {name: section for name, section in settings.items() if name != "workers"}
    for section, setting in (("continual", "passages"), ("domain", "test")):
        tree[section] = {name: value for name, value in tree[section].items() if name != setting}
    return tree
