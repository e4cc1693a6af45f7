"""What methods taught, and was learnt and kept of passages in turn, by task, so that each can be held to itself."""

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


JUST_LEARNT, AT_THE_END = "just learnt", "at the end"
"""When a passage of an order is asked, as `seal-ray eval` names it."""


def in_turn(journal: Journal) -> dict[str, dict[str, Measured]]:
    """By when they were asked, and by way, what passages came to in every order that was asked to its end."""
    whole = orders(journal)
    passages = {(row.arm, row.index): row.task_id for row in journal.read(PlannedRow) if row.stage == CONTINUAL}
    found: dict[str, dict[str, Measured]] = {JUST_LEARNT: {}, AT_THE_END: {}}
    for order in sorted(whole, key=lambda order: (order.way, order.number)):
        end = order.steps[-1]
        arm = arm_of(sequence_head(order.number, order.way), end)
        for place in range(order.passages):
            for when, asked in ((JUST_LEARNT, order.just(place)), (AT_THE_END, order.asked[end][place])):
                of_way = found[when].setdefault(order.way, Measured())
                of_way.rewards[passages[arm, place]].append(asked.accuracy)
                if asked.failed == asked.trials:
                    of_way.reasons["all of its trials failed"] += 1
    return found
