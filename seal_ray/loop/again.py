"""A run done once more by its manifest, and whether the same came of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seal_ray.config import adjusted
from seal_ray.events import Observer
from seal_ray.loop.preflight import prepare
from seal_ray.loop.run import do, frozen
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import Interval
from seal_ray.rundir.directory import has_rows
from seal_ray.rundir.frozen import read
from seal_ray.types import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Again:
    """A second run beside the first."""

    directory: str
    summary: dict[str, Interval]
    trials: int
    """Of both runs; 0 where the first is no longer beside its manifest."""
    unlike: tuple[str, ...]
    """The trials whose rewards are not the same, by their keys."""


def run_again(
    manifest: str, into: str = "", overrides: Sequence[str] = (), observers: Sequence[Observer] = ()
) -> Again:
    """Do the run of a manifest once more, in a directory of its own; other workers and observers may be given.

    It is refused where weights, files, settings or drawn tasks differ from what the manifest says, and other versions
    are named, for they may round differently.
    """
    file = Path(manifest)
    before = read(file)
    directory = into or f"{file.absolute().parent}-again"
    if Path(directory).absolute() == file.absolute().parent:
        raise UserError(f"{directory}: the run itself is here; give another directory with --into")
    commit = before.identity.contents.get("model.path", "").partition("@")[2]
    model = replace(before.config.model, revision=commit or before.config.model.revision)
    config = replace(before.config, run=replace(before.config.run, dir=directory), model=model)
    ready = prepare(adjusted(config, overrides))
    now = frozen(ready)
    before.refuse_another(now, manifest)
    if told := before.changed(now):
        logger.warning("%s: done again in another environment (%s); results may differ by rounding", manifest, told)
    summary = do(ready, *observers)
    return Again(directory, summary, *_beside(Store(str(file.absolute().parent)), Store(directory)))


def _beside(first: Store, second: Store) -> tuple[int, tuple[str, ...]]:
    """How many trials both runs have, and which of them came to other rewards."""
    if not has_rows(first):
        return 0, ()
    mine, theirs = ({row.key: row.reward for row in Journal(each).read(OutcomeRow)} for each in (first, second))
    both = mine.keys() | theirs.keys()
    return len(both), tuple(
        sorted(key for key in both if (key in mine, mine.get(key)) != (key in theirs, theirs.get(key)))
    )
