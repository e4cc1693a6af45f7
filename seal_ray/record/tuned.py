"""Trials of settings, which are no run: how their record is known, and which command goes on with it."""

from __future__ import annotations

from seal_ray.record.journal import Journal
from seal_ray.record.rows import PlannedRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.types import UserError

STAGE = "tuning"
"""The stage in which settings are tried."""


def refuse_tuned(directory: str) -> None:
    """Say what a directory is that holds the trials of settings, and neither rounds nor measurements."""
    journal = Journal(Store(directory))
    if any(STAGE in journal.table(kind.TABLE)["stage"].to_pylist() for kind in (PlannedRow, SelfEditRow)):
        raise UserError(
            f"{directory}: holds trials of settings, by `seal-ray tune`, and no run; the command that began them goes "
            f"on with them and says what they found: `seal-ray tune CONFIG --into {directory}`"
        )
