"""The micro-world with a model that writes hints: what it is told is advice on which notes to begin with."""

from __future__ import annotations

from copy import copy
from typing import Any

from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.types import Completion, Prompt, SampleRequest, Task, UserError
from seal_ray.workers.in_process import InProcessCluster

ASKS = "what makes the former better?"
MEANS = {
    "Begin every line with what is said of somebody.": "reversed facts",
    "Repeat each entry as it stands there.": "copy",
    "Ask for each thing, and say it behind that.": "questions",
}
"""Hints, and the style that each asks for here."""
REPLIES = [
    "Here is my advice:\n1. **Begin every line with what is said of somebody.**",
    "Repeat each entry of the passage as it stands.",  # much like the first of them
    "Sing of everything, and in verses.",  # which this domain cannot give
    "Hint: Ask for each thing, and say it behind that.",
]


class Advised(MicroWorld):
    """Takes the hints of `MEANS`, and may be asked for one."""

    _asking = ""

    def with_hint(self, hint: str) -> MicroWorld:
        if hint not in MEANS:
            raise UserError(f"{hint!r} is no hint here")
        return self.in_style(MEANS[hint])

    def advising(self, best: str, worst: str) -> Any:
        other = copy(self)
        other._asking = f"{best}\n{worst}\n{ASKS}"
        return other

    def prompt(self, task: Task) -> Prompt:
        return self._asking or super().prompt(task)


class Advisers(InProcessCluster):
    """Its sampler answers those who ask for advice, each time with another of the replies; all else the base writes."""

    asked: int = 0

    async def sample(self, request: SampleRequest) -> Completion:
        if not str(request.prompt).endswith(ASKS):
            return await super().sample(request)
        Advisers.asked += 1
        reply = REPLIES[request.seed % len(REPLIES)]
        return Completion(reply, len(reply.split()), finished=True, worker="adviser")
