"""What a finished run has and this one does not."""

from __future__ import annotations

from collections.abc import Sequence

from seal_ray.config import Config
from seal_ray.domains.registry import learns
from seal_ray.plain import counted
from seal_ray.report.arms import Arm
from seal_ray.report.rounds import Round
from seal_ray.update.base import updates


def missing(config: Config | None, has_text: bool, arms: Sequence[Arm], found: Sequence[Round]) -> list[str]:
    """One sentence for everything that a finished run has and this one does not."""
    lines: list[str] = []
    if not has_text:
        lines.append("The run's config.json is missing or cannot be read, so its settings are not shown.")
    elif config is None:
        lines.append("The run's config was written by another version; only its text is shown.")
    if not arms and (config is None or config.evaluation.samples or config.evaluation.baselines):
        lines.append("No held-out task has been measured yet.")
    lines += [
        f"Evaluation “{arm.name}”: {counted(arm.pending, 'trial')} planned and not yet ended."
        for arm in arms
        if arm.pending
    ]
    lines += [
        f"Round {r.number}: {r.pending:,} of {counted(r.trials, 'planned trial')} not yet ended."
        for r in found
        if r.pending
    ]
    if config is None:
        return lines
    updated, begun, trains = {r.number for r in found if r.policy}, {r.number for r in found}, updates(config)
    for number in range(1, config.run.rounds + 1):
        if number not in updated and (trains or number not in begun):
            lines.append(f"Round {number} has {'no update yet' if number in begun else 'not begun'}.")
    if config.evaluation.samples and arms and not learns(config):
        measured = {arm.round for arm in arms}
        lines += [
            f"The {f'policy after round {number}' if number else 'untrained policy'} has not been measured."
            for number in range(config.run.rounds + 1)
            if config.evaluation.every_round or number == (config.run.rounds if trains else 0)
            if number not in measured and (number in updated or number == 0)
        ]
    return lines
