"""Questions that belong to no task: a policy is asked once, and what it answers goes on record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from seal_ray.record.rows import OutcomeRow
from seal_ray.types import Policy, Trial, UserError

if TYPE_CHECKING:
    from seal_ray.loop.session import Session


async def asked_once(session: Session, policy: Policy, trial: Trial) -> OutcomeRow:
    """A policy's answers to a trial without training; `UserError` where it cannot give any."""
    key = session.names.trial(trial, policy, [])
    for row in session.journal.read(OutcomeRow):
        if row.key == key and not row.failure:
            return row
    outcome = replace(await session.cluster.run_trial(trial), key=key)
    if outcome.failure:  # not on record: whoever continues the run asks again
        raise UserError(f"{trial.task_id}: {outcome.failure.reason}")
    row = OutcomeRow.of(outcome)
    session.events.emit(row)
    return row
