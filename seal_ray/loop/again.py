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
from seal_ray.record.methods import of_trials
from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import Interval
from seal_ray.rundir.directory import has_rows
from seal_ray.rundir.frozen import FILE, read
from seal_ray.types import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Again:
    """A second run beside the first."""

    directory: str
    summary: dict[str, Interval]
    trials: int
    """Those that were to come out the same; 0 where the first run is no longer beside its manifest."""
    unlike: tuple[str, ...]
    """The trials whose rewards are not the same, by their keys."""
    not_asked: int = 0
    """Others of the first run, of arms that its manifest no longer asks for, such as methods of an earlier command."""


def run_again(
    manifest: str, into: str = "", overrides: Sequence[str] = (), observers: Sequence[Observer] = ()
) -> Again:
    """Do the run of a manifest, or of the directory it lies in, once more; other workers and observers may be given.

    It has a directory of its own. It is refused where weights, files, settings or drawn tasks differ from what the
    manifest says, and other versions are named, for they may round differently.
    """
    given = Path(manifest)
    file = given / FILE if given.is_dir() else given
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


def _beside(first: Store, second: Store) -> tuple[int, tuple[str, ...], int]:
    """How many trials one or the other run has of what both were asked, which of them came to other rewards, and how
    many the first has of what the second was not asked."""
    if not has_rows(first):
        return 0, (), 0
    mine, theirs = (Journal(each) for each in (first, second))
    asked = {(row.stage, row.arm) for row in theirs.read(PlannedRow)}
    wanted = {row.trial for row in mine.read(PlannedRow) if (row.stage, row.arm) in asked}
    before, now = map(_rewards, (mine, theirs))
    both = (before.keys() & wanted) | now.keys()
    unlike = sorted(key for key in both if (key in before, before.get(key)) != (key in now, now.get(key)))
    return len(both), tuple(unlike), len(before.keys() - both)


def _rewards(journal: Journal) -> dict[str, float | None]:
    ended = {row.key: row for row in journal.read(OutcomeRow)}
    return {key: row.reward for key, row in of_trials(ended, journal.read(PlannedRow), journal).items()}
