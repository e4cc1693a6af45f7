"""Questions that belong to no task: a policy is asked once, and what it answers goes on record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from seal_ray.record.rows import OutcomeRow
from seal_ray.types import Policy, Trial, UserError

if TYPE_CHECKING:
    from seal_ray.loop.workshop import Workshop


async def asked_once(shop: Workshop, policy: Policy, trial: Trial) -> OutcomeRow:
    """A policy's answers to a trial without training; `UserError` where it cannot give any."""
    key = shop.names.trial(trial, policy, [])
    for row in shop.journal.read(OutcomeRow):
        if row.key == key and not row.failure:
            return row
    outcome = replace(await shop.cluster.run_trial(trial), key=key)
    if outcome.failure:  # not on record: whoever continues the run asks again
        raise UserError(f"{trial.task_id}: {outcome.failure.reason}")
    row = OutcomeRow.of(outcome)
    shop.events.emit(row)
    return row
