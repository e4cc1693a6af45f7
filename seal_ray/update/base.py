"""What an update rule is: from what a round found to what the policy is finetuned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from seal_ray import plugins
from seal_ray.config import Config, Update
from seal_ray.selection.rules import Candidate, find_rule
from seal_ray.types import Example, FinetuneSpec, ObjectiveSpec, Task, UserError

NO_UPDATE = "none"
UPDATE_RULES = {
    "sft": "seal_ray.update.sft:Sft",
    "weighted": "seal_ray.update.weighted:Weighted",
    "dpo": "seal_ray.update.dpo:Dpo",
    "grpo": "seal_ray.update.grpo:Grpo",
    NO_UPDATE: "seal_ray.update.unchanged:Unchanged",
}
_EQUAL = 1e-9
"""Rewards no further apart differ by rounding alone."""


@dataclass(frozen=True)
class Found:
    """What a round found."""

    candidates: Mapping[str, Sequence[Candidate]]
    """Every self-edit that was written, by its task."""
    kept: Sequence[Candidate]
    """The self-edits that the selection rule chose."""
    tasks: Sequence[Task]
    """All tasks of the round, also those that were left out because they were solved."""


class UpdateRule(Protocol):
    """Says what a policy is finetuned on. Made from `update.options`; one's own is named as `package.module:Thing`."""

    needs_rewards: bool
    """Whether self-edits must have been tried, whatever the selection rule needs."""

    def request(self, found: Found, settings: Update, seed: int) -> FinetuneSpec | None:
        """What the policy is finetuned on; `UserError` where there is nothing to learn from.

        None where the policy stays as it is in every round.
        """
        ...


def learns_from_kept(rule: UpdateRule) -> bool:
    """Whether there is nothing to learn from without a kept self-edit; a rule's `needs_kept = False` says otherwise."""
    return getattr(rule, "needs_kept", True)


def find_update_rule(settings: Update) -> UpdateRule:
    """The rule that a config names, with its options."""
    kind = plugins.find("update.rule", settings.rule, UPDATE_RULES)
    wrong = f"update.options: {settings.rule!r} cannot be made from them"
    rule: UpdateRule = plugins.made(wrong, kind, **settings.options)
    if not callable(getattr(rule, "request", None)):
        raise UserError(f"update.rule {settings.rule!r}: has no method `request`, see seal_ray/update/base.py")
    return rule


def tries_self_edits(config: Config) -> bool:
    """Whether the rounds of a run try what was written, for the sake of either rule."""
    return find_rule(config.selection.rule).needs_rewards or find_update_rule(config.update).needs_rewards


def updates(config: Config) -> bool:
    """Whether the policy is trained in the rounds of a run."""
    return config.update.rule != NO_UPDATE


def tried(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that have a reward: a race may have had no trial left for one, which is not the same as 0."""
    return [candidate for candidate in candidates if candidate.rewards and not candidate.problem]


def advantages(candidates: Sequence[Candidate]) -> list[tuple[Candidate, float]]:
    """Each tried self-edit of a task with its reward less the mean of all of them; those at the mean are left out."""
    usable = tried(candidates)
    mean = fmean(candidate.reward for candidate in usable) if usable else 0.0
    return [(each, gain) for each in usable if abs(gain := each.reward - mean) > _EQUAL]


def finetune(
    examples: Sequence[Example], found: Found, settings: Update, seed: int, objective: ObjectiveSpec | None = None
) -> FinetuneSpec:
    """The finetuning on these examples, with the answers that the policy is to keep near."""
    kept_near = anchors(found.tasks, settings)
    return FinetuneSpec(tuple(examples), settings.lora, settings.optim, seed, kept_near, settings.kl_coef, objective)


def anchors(tasks: Sequence[Task], settings: Update) -> tuple[Example, ...]:
    """The answers that the policy is not to move away from; none without a `kl_coef`."""
    questions = [question for task in tasks for question in task.questions] if settings.kl_coef else []
    return tuple(Example(question.answer, question.prompt) for question in questions)


def example(candidate: Candidate) -> Example:
    """A self-edit as a text to learn; one that was cut off teaches no end at the cut."""
    edit = candidate.edit
    return Example(edit.completion, edit.prompt, whole=edit.finished)
