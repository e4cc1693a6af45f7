"""What the journal's rows are called: hashes of everything that what they hold depends on.

A number says nothing: policy 1 of one run is not policy 1 of another. So a policy is called by what it was made from,
a self-edit by who wrote it and with which settings, a trial by the policy below it and all that it does. A run keeps
the names it was begun with, so that what an older version wrote down is found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from seal_ray.record.rows import MERGE, LearntRow
from seal_ray.record.schema import SCHEMA
from seal_ray.rundir.identity import Identity
from seal_ray.types import BASE, FinetuneSpec, Policy, Prompt, SampleRequest, Task, Trial, content_key, content_of

_ADDED = (("quantization", "none"),)
"""Settings of the model that are newer than the names of runs, with the value under which all is as without them."""


@dataclass(frozen=True)
class Names:
    """A run's way of naming things."""

    model: str = ""
    """The base, and the precision in which it is trained and queried."""
    writer: str = ""
    """What writes self-edits: the base, or another model behind an endpoint, and the engine it runs in."""
    since: int = SCHEMA
    """The schema that the run was begun with."""

    @classmethod
    def of(cls, identity: Identity, since: int = SCHEMA) -> Names:
        settings, contents = identity.settings, identity.contents
        base = {name: found for name, found in contents.items() if name.startswith("model.")}
        # A setting that is newer than a run is in its names only where it is not as it was before there was one.
        held = {name: value for name, value in settings["model"].items() if (name, value) not in _ADDED}
        model = content_key("model", base, held)
        elsewhere = [settings["sampling"][name] for name in ("endpoint", "endpoint_model")]
        return cls(model, content_key("writer", model, identity.decided, *elsewhere), since)

    @property
    def base(self) -> Policy:
        """The policy that a run begins with."""
        return Policy(self.model)

    def self_edit(self, request: SampleRequest, policy: Policy) -> str:
        if self.since == 1:
            return content_key("self-edit", policy.version, request.prompt, request.seed)
        return content_key("self-edit", self.writer, policy.name, _of_policy(0, request))

    def trial(self, trial: Trial, policy: Policy, tasks: Sequence[Task]) -> str:
        """The answers that count as right belong to it: they decide the reward."""
        if self.since == 1:
            return content_key("trial", _of_policy(policy.version, trial))
        right = [[question.answer for question in task.questions] for task in tasks]
        return content_key("trial", self.model, policy.name, _of_policy(0, trial), right)

    def questions(self, endpoint: str, model: str, task_id: str, prompt: Prompt) -> str:
        """What a model wrote as questions for a passage that had none."""
        by = () if self.since == 1 or endpoint else (self.writer,)
        return content_key("questions", endpoint, model, task_id, prompt, *by)

    def next_policy(self, version: int, parent: Policy, finetune: FinetuneSpec, max_rank: int) -> str:
        """A policy by what it is made from."""
        if self.since == 1:
            return str(version)
        return content_key("policy", parent.name, replace(finetune, base=BASE), max_rank)

    def grown_policy(self, parent: Policy, place: LearntRow) -> str:
        """A policy that has learnt one more passage."""
        if self.since == 1:
            return str(place.version)
        step = {"sequence": place.sequence, "step": place.step, "task_id": place.task_id}
        return content_key("grown", parent.name, step, *(() if place.way == MERGE else (place.way,)))

    def planned(self, stage: str, arm: str, task_id: str, index: int, replicate: int, trial: str) -> str:
        """A trial's place in the run, and which trial it is."""
        return content_key(stage, arm, task_id, index, replicate, *(() if self.since == 1 else (trial,)))


def _of_policy(version: int, asked: Trial | SampleRequest) -> dict[str, Any]:
    """The content that is hashed for a name: without the adapter, and with the version of the policy."""
    return {**{name: part for name, part in content_of(asked).items() if name != "base"}, "policy": version}
