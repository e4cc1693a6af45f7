"""Questions that belong to no task: a policy is asked once, and what it answers goes on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from seal_ray.gathering import all_of
from seal_ray.record.rows import OutcomeRow
from seal_ray.types import Policy, Trial, UserError

if TYPE_CHECKING:
    from seal_ray.loop.workshop import Workshop


async def asked_once(shop: Workshop, policy: Policy, trial: Trial) -> OutcomeRow:
    """A policy's answers to a trial without training; `UserError` where it cannot give any."""
    return (await asked_each(shop, policy, [trial]))[0]


async def asked_each(shop: Workshop, policy: Policy, trials: Sequence[Trial]) -> list[OutcomeRow]:
    """The same for several trials, side by side; the record is gone through once."""
    keys = [shop.names.trial(trial, policy, []) for trial in trials]
    wanted = dict(zip(keys, trials, strict=True))
    known = {row.key: row for row in shop.journal.read(OutcomeRow) if row.key in wanted and not row.failure}

    async def ask(key: str, trial: Trial) -> None:
        outcome = replace(await shop.cluster.run_trial(trial), key=key)
        if outcome.failure:  # not on record: whoever continues the run asks again
            raise UserError(f"{trial.task_id}: {outcome.failure.reason}")
        known[key] = row = OutcomeRow.of(outcome)
        shop.events.emit(row)

    await all_of(ask(key, trial) for key, trial in wanted.items() if key not in known)
    return [known[key] for key in keys]
