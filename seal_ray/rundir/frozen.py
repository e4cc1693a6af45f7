"""What a second run of the same needs: `manifest.json` in a run's directory, and what differs here from what it says.

It holds the config, what lies behind it (weights and files by their hashes), the versions that it was computed with,
and the tasks that were drawn. All seeds follow from `run.seed`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seal_ray.config import Config, parse
from seal_ray.domains.registry import spelled_out
from seal_ray.reading import as_tree
from seal_ray.record.environment import changed, environment
from seal_ray.record.schema import SCHEMA, brought_up, checked
from seal_ray.record.storage import Store
from seal_ray.rundir.identity import Identity, differences, settings_of
from seal_ray.types import Task, UserError, content_key

FILE = "manifest.json"


@dataclass(frozen=True)
class Drawn:
    """The tasks of a run, by their ids."""

    held_out: tuple[str, ...]
    training: tuple[tuple[str, ...], ...]
    """Of each round; of the first alone where all have the same."""
    content: str
    """Equal where all of them say and ask the same."""
    each: tuple[str, ...] = ()
    """The same of each held-out one; nothing in a manifest that an older version wrote."""
    orders: tuple[tuple[str, ...], ...] = ()
    """In which passages come in turn."""

    @classmethod
    def of(
        cls, held_out: Sequence[Task], training: Sequence[Sequence[Task]], orders: Sequence[Sequence[Task]] = ()
    ) -> Drawn:
        content = content_key("tasks", [_said(task) for tasks in (held_out, *training) for task in tasks])
        each = tuple(content_key("task", _said(task)) for task in held_out)
        return cls(_ids(held_out), tuple(map(_ids, training)), content, each, tuple(map(_ids, orders)))


@dataclass(frozen=True)
class Frozen:
    """A run as it can be done once more."""

    config: Config
    identity: Identity
    drawn: Drawn
    environment: Mapping[str, str]
    """Versions and processor."""

    @classmethod
    def here(cls, config: Config, identity: Identity, drawn: Drawn) -> Frozen:
        return cls(config, identity, drawn, environment())

    def write(self, store: Store) -> None:
        """Put it beside the record, unless it is there; methods and passages that are added are written down too.

        Where the run lives is no part of it, so that a directory may be moved.
        """
        config = as_tree(spelled_out(replace(self.config, run=replace(self.config.run, dir=""))))
        tree = {"schema": SCHEMA, "environment": dict(self.environment), "tasks": as_tree(self.drawn)}
        tree |= {"identity": self.identity.tree(), "config": config}
        kept = _kept(store)
        if any(kept.get(part) != tree[part] for part in ("identity", "config")):
            store.write(FILE, json.dumps(tree, indent=2).encode())

    def refuse_another(self, other: Frozen, where: str) -> None:
        """Refuse to call another run this one: whatever differs is named."""
        lines = differences(self.identity, other.identity)
        lines += _unlike("held-out tasks", self.drawn.held_out, other.drawn.held_out)
        rounds = zip(self.drawn.training, other.drawn.training, strict=False)
        for round_, (mine, theirs) in enumerate(rounds, 1):
            lines += _unlike(f"training tasks of round {round_}", mine, theirs)
        if not lines and self.drawn.content != other.drawn.content:
            lines = ["the tasks of these ids say or ask something else"]
        if lines:
            raise UserError(f"{where}: this would be another run ({'; '.join(lines)}); give it what it was begun with")

    def refuse_other_tasks(self, store: Store) -> None:
        """Refuse to go on with other tasks than the run began with; more at the end of the held-out ones may come.

        Sources are looked at by what they hold; a domain of the user's own may read others, or draw by chance.
        """
        before, now = drawn_before(store), self.drawn
        if before is None:
            return
        lines = _unlike("held-out tasks", before.held_out, now.held_out[: len(before.held_out)])
        for round_, (then, drawn) in enumerate(zip(before.training, now.training, strict=False), 1):
            lines += _unlike(f"training tasks of round {round_}", then, drawn) if then and drawn else []
        pairs = zip(before.held_out, before.each, now.each, strict=False)
        others = [name for name, then, said in pairs if then != said]
        whole = (before.held_out, before.training) == (now.held_out, now.training)
        if not lines and (others or (whole and before.content != now.content)):
            lines = [f"{others[0]!r} says or asks something else" if others else "training tasks say something else"]
        if lines:
            raise UserError(
                f"{store.url}: the run cannot go on with other tasks ({'; '.join(lines)}): a domain gives the same "
                "ones for a seed, and names its files as seal_ray.SourcePath; put back what was, or begin another run"
            )

    def changed(self, other: Frozen) -> str:
        """Which versions are not what they were."""
        return changed(self.environment, other.environment)


def read(file: Path) -> Frozen:
    """A manifest as a run wrote it."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        checked(int(tree["schema"]), str(file))
        config = parse(brought_up(tree["config"], str(file)), str(file))
        said, tasks = tree["identity"], tree["tasks"]
        identity = Identity(settings_of(config), dict(said["contents"]), dict(said["decided"]))
        return Frozen(config, identity, _drawn(tasks), dict(tree["environment"]))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}; give the {FILE} of a run's directory") from None
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError(f"{file}: is no manifest of a run; give the {FILE} of a run's directory") from None


def drawn_before(store: Store) -> Drawn | None:
    """The tasks that a run has drawn, by its manifest; None where that does not say it."""
    try:
        return _drawn(_kept(store)["tasks"])
    except (KeyError, TypeError):
        return None


def _drawn(tasks: Any) -> Drawn:
    each, orders = tuple(tasks.get("each", ())), tuple(map(tuple, tasks.get("orders", ())))
    return Drawn(tuple(tasks["held_out"]), tuple(map(tuple, tasks["training"])), tasks["content"], each, orders)


def _kept(store: Store) -> dict[str, Any]:
    """The manifest that is there, as it was written."""
    try:
        tree = json.loads(store.read(FILE))
    except (FileNotFoundError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _said(task: Task) -> tuple[Any, ...]:
    return task.title, task.context, task.questions


def _ids(tasks: Sequence[Task]) -> tuple[str, ...]:
    return tuple(task.id for task in tasks)


def _unlike(what: str, mine: Sequence[str], theirs: Sequence[str]) -> list[str]:
    if tuple(mine) == tuple(theirs):
        return []
    gone, new = sorted(set(mine) - set(theirs)), sorted(set(theirs) - set(mine))
    if not gone and not new:
        return [f"the {what} come in another order"]
    return [f"the {what} are others: {len(gone)} are gone, such as {gone[:1]}, and {len(new)} new, such as {new[:1]}"]
