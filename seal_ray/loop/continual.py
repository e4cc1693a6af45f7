"""Continual self-edits: passages arrive one after another, each learnt on top of all before, and all are asked again.

After k passages the policy is the base plus one adapter, into which the adapters of k trials were stacked. How the
accuracy on the first passages falls while others are learnt is forgetting, measured.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seal_ray.adapters.consolidate import Stack
from seal_ray.adapters.lora import Adapter
from seal_ray.config import Config
from seal_ray.events import StageBegan
from seal_ray.record.summary import CONTINUAL
from seal_ray.types import Task, UserError, derive_seed

if TYPE_CHECKING:
    from seal_ray.loop.session import Session

logger = logging.getLogger(__name__)


def check_continual(config: Config, tasks: Sequence[Task]) -> None:
    """Refuse sequences longer than what is held out."""
    if config.continual.sequences and len(tasks) < config.continual.passages:
        wanted = f"continual.passages is {config.continual.passages}"
        raise UserError(f"{wanted}, and {len(tasks)} are held out; raise domain.test, or lower it")


async def measure_continual(session: Session, tasks: Sequence[Task]) -> None:
    """Every sequence of held-out passages, each beginning with the policy of the last round."""
    config, runner, policies, emit = session.config, session.runner, session.policies, session.events.emit
    sequences, length, rounds = config.continual.sequences, config.continual.passages, config.run.rounds
    if not sequences:
        return
    check_continual(config, tasks)  # again: passages without usable questions were left out
    emit(StageBegan(f"{CONTINUAL}: self-edits", sequences * length))
    emit(StageBegan(f"{CONTINUAL}: trials", sequences * length * (length + 1)))

    async def learnt(task: Task) -> Adapter | None:
        """The policy with one more passage; as it was when the self-edit cannot be used."""
        trial = await runner.written_trial(CONTINUAL, task)
        if trial is None:
            return policies.adapter
        outcome, adapter = await session.cluster.train_adapter(trial)
        runner.warn(task.id, outcome)
        if outcome.failure:
            logger.warning("%s: nothing is learnt of it: %s", task.id, outcome.failure.reason)
            return policies.adapter
        return Stack(config.update.max_rank).consolidate(None, adapter).adapter  # which came back over the policy's

    for sequence in range(sequences):
        seed = derive_seed("continual", config.run.seed, sequence)
        order = sorted(tasks, key=lambda task: derive_seed(seed, task.id))[:length]
        runner.policy = await policies.use(rounds)
        await runner.ask(CONTINUAL, f"sequence {sequence}, after 0", order)
        for step, task in enumerate(order, start=1):
            version = rounds + sequence * length + step
            await policies.grow(version, lambda: learnt(task), sequence, step, task.id)  # noqa: B023
            runner.policy = version
            await runner.ask(CONTINUAL, f"sequence {sequence}, after {step}", order)
