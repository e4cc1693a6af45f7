"""Continual self-edits: passages arrive one after another, each learnt on top of those before, and all are measured.

After k passages the policy is the base plus one adapter, into which the adapters of k trials were stacked. How the
accuracy on the first passages falls while others are learnt is forgetting, measured. Sequences know nothing of each
other: each moves a head of its own, and workers hold the adapters of all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from seal_ray.adapters.lora import Adapter
from seal_ray.config import SEQUENCES_AT_ONCE, Config
from seal_ray.events import StageBegan
from seal_ray.loop.gathering import all_of
from seal_ray.policy.lineage import sequence_head
from seal_ray.record.summary import CONTINUAL
from seal_ray.types import Task, UserError, derive_seed

if TYPE_CHECKING:
    from seal_ray.loop.session import Session
    from seal_ray.loop.trials import TrialRunner

logger = logging.getLogger(__name__)


def check_continual(config: Config, tasks: Sequence[Task]) -> None:
    """Refuse sequences longer than what is held out."""
    if config.continual.sequences and len(tasks) < config.continual.passages:
        wanted = f"continual.passages is {config.continual.passages}"
        raise UserError(f"{wanted}, and {len(tasks)} are held out; raise domain.test, or lower it")


async def measure_continual(session: Session, tasks: Sequence[Task]) -> None:
    """Every sequence of held-out passages, each beginning with the policy of the last round; several at once."""
    config, emit = session.config, session.events.emit
    sequences, length = config.continual.sequences, config.continual.passages
    if not sequences:
        return
    check_continual(config, tasks)  # again: passages without usable questions were left out
    emit(StageBegan(f"{CONTINUAL}: self-edits", sequences * length))
    emit(StageBegan(f"{CONTINUAL}: trials", sequences * length * (length + 1)))
    places = asyncio.Semaphore(SEQUENCES_AT_ONCE)

    async def one(sequence: int) -> None:
        seed = derive_seed("continual", config.run.seed, sequence)
        order = sorted(tasks, key=lambda task: derive_seed(seed, task.id))[:length]
        async with places:
            await learn_in_turn(session, sequence, order)

    await all_of(map(one, range(sequences)))


async def learn_in_turn(session: Session, sequence: int, order: Sequence[Task]) -> None:
    """One passage on top of the other; all are asked before the first, and after each."""
    policies, start = session.policies, session.runner.policy
    head = sequence_head(sequence)
    policy = await policies.move(head, start)
    for step in range(len(order) + 1):
        if step:
            version = start.version + sequence * len(order) + step
            learn = partial(learnt, session, session.runner.under(policy), order[step - 1])
            policy = await policies.grow(policy, version, learn, sequence, step, order[step - 1].id)
        await session.runner.under(policy).ask(CONTINUAL, f"{head}, after {step}", order)
    await policies.end(head)


async def learnt(session: Session, runner: TrialRunner, task: Task) -> Adapter | None:
    """What one passage teaches on top of a policy; nothing when the self-edit cannot be used."""
    trial = await runner.written_trial(CONTINUAL, task)
    if trial is None:
        return None
    outcome, adapter = await session.cluster.train_adapter(trial)
    runner.warn(task.id, outcome)
    if outcome.failure:
        logger.warning("%s: nothing is learnt of it: %s", task.id, outcome.failure.reason)
        return None
    return adapter
