"""What is adapted to: tasks with their questions, and what a policy writes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Self

from seal_ray.types.content import content_key
from seal_ray.types.errors import UserError
from seal_ray.types.prompts import Prompt


@dataclass(frozen=True)
class Question:
    """One closed-book question, and the answer that counts as right."""

    prompt: Prompt
    answer: str


@dataclass(frozen=True)
class Task:
    """A context to adapt to, with the questions that measure it.

    A domain may subclass this to carry more; tasks stay with the driver and never reach a worker.
    """

    id: str
    title: str
    context: str
    questions: tuple[Question, ...]
    family: str = ""
    """Kind of task, for tables that break a result down."""

    def part(self, numbers: Sequence[int]) -> Self:
        """The same task with these of its questions alone; a domain's own keeps in step what it says of each."""
        return replace(self, questions=tuple(self.questions[number] for number in numbers))


@dataclass(frozen=True)
class SelfEdit:
    """One completion sampled from the policy for a task."""

    task_id: str
    index: int
    policy: int
    """Version of the policy that wrote it."""
    prompt: Prompt
    completion: str
    seed: int
    tokens: int = 0
    finished: bool = True
    """False when it was cut off by the token limit."""
    refused: str = ""
    """Why none could be written, when none could."""
    name: str = ""
    """What it depends on, as a run names it; see `seal_ray.rundir.keys`."""
    strategy: str = ""
    """The one of `sampling.strategies`, or the hint of the playbook, that it was written with."""

    @property
    def key(self) -> str:
        return self.name or content_key("self-edit", self.policy, self.prompt, self.seed)


@dataclass(frozen=True)
class Grade:
    """A task's answers, judged: one verdict per question, and the reward they make."""

    verdicts: tuple[float, ...]
    reward: float

    def __post_init__(self) -> None:
        if wrong := [value for value in (*self.verdicts, self.reward) if not is_share(value)]:
            raise UserError(
                f"a grade holds {wrong[0]!r}: verdicts and rewards are numbers from 0 to 1; mend what grades"
            )


def is_share(value: Any) -> bool:
    """Whether it is a number from 0 to 1, which NaN is not."""
    return isinstance(value, Real) and 0 <= float(value) <= 1
