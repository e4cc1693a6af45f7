"""The rules of the update beside one another on the micro-world, with the same trials and about as many steps.

python -m benchmarks updates --into runs/updates

One round of every rule, over three seeds. What is written, tried and measured before the update is done once a seed,
for `none`, and all other rules take it from there; the same command goes on where it was stopped. Rules learn from
unlike numbers of self-edits: their epochs make up for that, and the table says how many steps it came to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from seal_ray.config import IN_PROCESS, load
from seal_ray.loop.run import run
from seal_ray.observe.progress import Progress
from seal_ray.record.journal import Journal
from seal_ray.record.rows import PolicyRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import UNTRAINED, Interval, interval, measured

JOB = Path(__file__).parents[1] / "jobs/microworld.toml"
FIRST = "none"
RULES: Mapping[str, Mapping[str, str]] = {
    FIRST: {"update.rule": "none"},
    "sft": {"update.rule": "sft", "update.optim.epochs": "6"},
    "sft of all that taught": {"update.rule": "sft", "selection.rule": "positive", "update.optim.epochs": "1"},
    "weighted": {"update.rule": "weighted", "update.optim.epochs": "4"},
    "weighted by softmax": {
        "update.rule": "weighted",
        "update.options": '{"by": "softmax"}',
        "update.optim.epochs": "1",
    },
    "dpo": {"update.rule": "dpo", "update.optim.epochs": "6"},
    "grpo": {"update.rule": "grpo", "update.optim.epochs": "1"},
}
BUDGET = {
    "run.rounds": "1",
    "domain.train": "16",
    "domain.test": "24",
    "evaluation.samples": "1",
    "evaluation.baselines": "[]",
    "workers.address": IN_PROCESS,
}
"""What all of them have: 80 self-edits and trials, and 24 held-out tasks, a seed."""


@dataclass(frozen=True)
class Measured:
    """One rule, over all seeds."""

    rule: str
    learnt: float
    """Texts that an update was trained on, the mean over seeds; steps likewise."""
    steps: float
    accuracy: Interval
    gain: Interval
    """Over the policy before the update, task by task."""


def updates(seeds: Sequence[int], into: str, overrides: Sequence[str], progress: Progress) -> list[Measured]:
    """Measure every rule at every seed that is not measured yet."""
    for seed in seeds:
        first = _directory(into, FIRST, seed)
        for rule, settings in RULES.items():
            fixed = BUDGET | dict(settings) | {"run.seed": str(seed), "run.dir": _directory(into, rule, seed)}
            said = [word for key, value in fixed.items() for word in (f"--{key}", value)]
            run(load(JOB, [*said, *overrides]), progress, beside="" if rule == FIRST else first)
    return [_measured(rule, [Journal(Store(_directory(into, rule, seed))) for seed in seeds]) for rule in RULES]


def table(found: Sequence[Measured]) -> str:
    """Markdown: a row for each rule."""
    lines = ["| rule | texts learnt | steps | held-out accuracy | gain, points |", "|---|---|---|---|---|"]
    for each in found:
        gain = f"{100 * each.gain.accuracy:+.1f} ({100 * each.gain.low:+.1f} to {100 * each.gain.high:+.1f})"
        accuracy = f"{each.accuracy.accuracy:.1%} ({each.accuracy.low:.1%} – {each.accuracy.high:.1%})"
        cells = (f"`{each.rule}`", f"{each.learnt:.0f}", f"{each.steps:.0f}", accuracy)
        lines.append(f"| {' | '.join(cells)} | {'–' if each.rule == FIRST else gain} |")
    return "\n".join(lines)


def _directory(into: str, rule: str, seed: int) -> str:
    return str(Path(into) / f"{rule.replace(' ', '-')}-{seed}")


def _measured(rule: str, journals: Sequence[Journal]) -> Measured:
    policies = [row for journal in journals for row in journal.read(PolicyRow)]
    pairs = [pair for journal in journals for pair in _pairs(journal)]
    return Measured(
        rule,
        fmean(row.kept for row in policies) if policies else 0.0,
        fmean(row.steps for row in policies) if policies else 0.0,
        interval([after for _, after in pairs]),
        interval([after - before for before, after in pairs]),
    )


def _pairs(journal: Journal) -> list[tuple[float, float]]:
    """Of each held-out task, what it scored before the update and after it; the same where there was none."""
    arms = measured(journal)
    before, after = arms[UNTRAINED].of_task, arms.get("after round 1", arms[UNTRAINED]).of_task
    return [(before[task], after[task]) for task in before]
