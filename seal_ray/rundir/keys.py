"""What the journal's rows are called: hashes of everything that what they hold depends on.

A number says nothing: policy 1 of one run is not policy 1 of another. So a policy is called by what it was made from,
a self-edit by who wrote it and how it was asked for, a trial by the policy below it and all that it does. A run keeps
the names it was begun with, so that what an older version wrote down is found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from seal_ray.record.schema import SCHEMA
from seal_ray.rundir.identity import Identity
from seal_ray.types import FinetuneSpec, Prompt, SampleRequest, Task, Trial, content_key


@dataclass(frozen=True)
class Names:
    """A run's way of naming things."""

    model: str = ""
    """The base, and the precision it is trained and asked in."""
    writer: str = ""
    """What writes self-edits: the base, or another model behind an endpoint, and the engine it runs in."""
    since: int = SCHEMA
    """The schema that the run was begun with."""
    policies: dict[int, str] = field(default_factory=dict)
    """The names of the policies met so far, by their version."""

    @classmethod
    def of(cls, identity: Identity, since: int = SCHEMA) -> Names:
        settings, contents = identity.settings, identity.contents
        base = {name: found for name, found in contents.items() if name.startswith("model.")}
        model = content_key("model", base, settings["model"])
        elsewhere = [settings["sampling"][name] for name in ("endpoint", "endpoint_model")]
        return cls(model, content_key("writer", model, identity.decided, *elsewhere), since)

    def self_edit(self, request: SampleRequest) -> str:
        if self.since == 1:
            return content_key("self-edit", request.policy, request.prompt, request.seed)
        return content_key("self-edit", self.writer, self.policy(request.policy), replace(request, policy=0))

    def trial(self, trial: Trial, tasks: Sequence[Task]) -> str:
        """The answers that count as right belong to it: they decide the reward."""
        if self.since == 1:
            return trial.key
        right = [[question.answer for question in task.questions] for task in tasks]
        return content_key("trial", self.model, self.policy(trial.policy), replace(trial, policy=0), right)

    def questions(self, endpoint: str, model: str, task_id: str, prompt: Prompt) -> str:
        """What a model wrote as questions for a passage that had none."""
        by = () if self.since == 1 or endpoint else (self.writer,)
        return content_key("questions", endpoint, model, task_id, prompt, *by)

    def next_policy(self, version: int, parent: int, finetune: FinetuneSpec, max_rank: int) -> str:
        """A policy by what it is made from."""
        if self.since == 1:
            return str(version)
        return content_key("policy", self.policy(parent), finetune, max_rank)

    def grown_policy(self, version: int, parent: int, **step: object) -> str:
        """A policy that has learnt one more passage."""
        return str(version) if self.since == 1 else content_key("grown", self.policy(parent), step)

    def planned(self, stage: str, arm: str, task_id: str, index: int, replicate: int, trial: str) -> str:
        """A trial's place in the run, and which trial it is."""
        return content_key(stage, arm, task_id, index, replicate, *(() if self.since == 1 else (trial,)))

    def policy(self, version: int) -> str:
        return self.policies.get(version) or (self.model if version == 0 else str(version))
