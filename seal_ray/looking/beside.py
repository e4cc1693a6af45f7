"""What methods taught, and what was kept of passages in turn, by task, so that each can be held to itself elsewhere."""

from __future__ import annotations

from seal_ray.policy.lineage import sequence_head
from seal_ray.record.continual import CONTINUAL, arm_of, orders
from seal_ray.record.journal import Journal
from seal_ray.record.methods import learnt
from seal_ray.record.rows import PlannedRow
from seal_ray.record.summary import Measured


def by_method(journal: Journal) -> dict[str, Measured]:
    """The trials of each method, with as many texts and whether together, that have ended."""
    found: dict[str, Measured] = {}
    for arm, tasks in sorted(learnt(journal).items()):
        found[arm.name] = Measured()
        for task, each in tasks.items():
            for row in each.trials:
                found[arm.name].rewards[task].append(row.reward or 0.0)
                if row.failure:
                    found[arm.name].reasons[str(row.reason)] += 1
    return found


def in_turn(journal: Journal) -> dict[str, Measured]:
    """By way, what was kept of each passage at the end of every order that was asked to its end."""
    whole = orders(journal)
    passages = {(row.arm, row.index): row.task_id for row in journal.read(PlannedRow) if row.stage == CONTINUAL}
    found: dict[str, Measured] = {}
    for order in sorted(whole, key=lambda order: (order.way, order.number)):
        end = order.steps[-1]
        arm, kept = arm_of(sequence_head(order.number, order.way), end), found.setdefault(order.way, Measured())
        for place, asked in sorted(order.asked[end].items()):
            kept.rewards[passages[arm, place]].append(asked.accuracy)
            if asked.failed == asked.trials:
                kept.reasons["all of its trials failed"] += 1
    return found
