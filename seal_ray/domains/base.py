"""The protocol every domain speaks: list tasks, prompt the policy, parse a completion, grade answers.

A domain lives in the driver process. It imports neither torch nor Ray, and never touches a worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from seal_ray.types import Example, Grade, Prompt, Recipe, Task

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Baseline:
    """What a baseline trains (None: nothing), and the questions it answers."""

    recipe: Recipe | None
    questions: tuple[Prompt, ...]


class Domain(Protocol):
    name: str
    schema: dict[str, Any] | None
    """JSON schema of a self-edit, for domains whose self-edit is a decision; None for free text."""
    stop: tuple[str, ...]
    """Answers end at the first of these."""
    sample_stop: tuple[str, ...]
    """Self-edits end at the first of these."""

    def tasks(self, split: Split, count: int | None, seed: int) -> Sequence[Task]:
        """`count` tasks of a split (None: all), the same ones for the same seed."""
        ...

    def prompt(self, task: Task) -> Prompt:
        """What the policy is shown when it writes a self-edit for this task."""
        ...

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        """A completion as training examples and hyper-parameters; `DataError` when it cannot be one."""
        ...

    def baseline(self, name: str, task: Task, seed: int) -> Baseline | None:
        """The trial of a named baseline (`base`, `passage only`, …), or None when it has no such thing."""
        ...

    def questions(self, task: Task) -> tuple[Prompt, ...]:
        """The questions a trial answers after training, with the context absent."""
        ...

    def statements(self, task: Task) -> tuple[Example, ...]:
        """Held-out texts whose likelihood may serve as a reward; empty when the domain has none."""
        ...

    async def grade(self, task: Task, answers: Sequence[str]) -> Grade:
        """Judge a trial's answers, in the order of `questions`."""
        ...


@runtime_checkable
class NeedsQuestions(Protocol):
    """A domain whose tasks may come without questions, which a model then writes."""

    def question_prompt(self, task: Task) -> Prompt | None:
        """The prompt for that model; None for a task that has its questions."""
        ...

    def with_questions(self, task: Task, completion: str) -> Task | None:
        """The task with the questions of a completion, marked as synthetic; None when it holds none."""
        ...


@runtime_checkable
class JointTraining(Protocol):
    """A domain whose tasks can be trained on together, as continued pretraining."""

    def corpus(self, edits: Iterable[tuple[Task, Sequence[str]]]) -> Recipe:
        """All these tasks at once, each with its self-edits; a task with none is its bare text."""
        ...


@runtime_checkable
class Strategic(Domain, Protocol):
    """A domain that can ask for self-edits of several kinds."""

    def strategies(self) -> Sequence[str]:
        """What they may be, by name."""
        ...

    def in_style(self, style: str) -> Domain:
        """This domain, whose `prompt` asks for this style and whose `recipe` reads what was written in it."""
        ...


@runtime_checkable
class Advisable(Domain, Protocol):
    """A domain whose self-edits can be asked for with a hint, and whose model may be asked for one."""

    def with_hint(self, hint: str) -> Domain:
        """This domain, whose `prompt` gives that line of advice along; `UserError` for one that it cannot give."""
        ...

    def advising(self, best: str, worst: str) -> Domain | None:
        """This domain, whose `prompt` shows the best and the worst self-edit of a task and asks for a line of advice
        on others; None where its model writes none, and only a user's hints are tried."""
        ...


@runtime_checkable
class Studied(Domain, Protocol):
    """A domain whose texts can be learnt by several methods, which are measured beside one another."""

    def styles(self, method: str) -> Sequence[str]:
        """The styles in which a method has a text written here; none where that cannot be asked for."""
        ...

    def in_style(self, style: str, about: str = "") -> Studied:
        """This domain, whose `prompt` asks for this style, and for what it is to be about where a style leaves that."""
        ...

    def text(self, task: Task) -> tuple[Example, ...]:
        """A task's own text, to be trained on."""
        ...

    def pieces(self, task: Task, completion: str) -> tuple[Example, ...]:
        """What is trained on of a completion, without the text; `DataError` where nothing can be."""
        ...

    def train_on(self, examples: Sequence[Example]) -> Recipe:
        """These, as the domain trains."""
        ...

    def in_sight(self, task: Task, prompt: Prompt) -> Prompt:
        """A question with the task's text before it."""
        ...

    def teacher(self, task: Task, before: Sequence[Example]) -> Prompt:
        """What the model reads before a piece where it is its own teacher: the task's text, and the pieces before."""
        ...


@runtime_checkable
class KnownBefore(Protocol):
    """A domain that can ask for what the base knows already, which learning should not cost."""

    def known_before(self) -> Sequence[Task]:
        """Tasks that no self-edit is written for."""
        ...

    def practice(self) -> Sequence[Prompt]:
        """Other questions of that kind, none of which is asked in these tasks."""
        ...


@runtime_checkable
class Contradicts(Protocol):
    """A domain that knows of its passages what the base holds to be otherwise."""

    def held_before(self, task: Task) -> Sequence[str]:
        """For each question the other answer that the base knows; empty where it knows none."""
        ...


@runtime_checkable
class FixedAnswers(Protocol):
    """A domain that knows how long its answers are: one as long as it may be is whole, and not cut short."""

    fixed_answers: bool


@runtime_checkable
class PlainTexts(Protocol):
    """A domain with texts by which it is told what learning costs a base's language, whatever it knows."""

    def plain_texts(self) -> Sequence[Example]:
        """Texts like those that the base was made of, about nothing that is learnt or asked."""
        ...


@runtime_checkable
class DiscreteActions(Domain, Protocol):
    """A domain whose self-edit is a decision among finitely many."""

    def candidates(self) -> Iterator[str]:
        """The decisions an oracle tries, as the policy would write them."""
        ...

    def choices(self, completion: str) -> dict[str, str]:
        """What a self-edit decides, by name; `DataError` when it is no valid decision."""
        ...


Grid = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A grid of small whole numbers, each drawn in a colour of its own."""

    label: str
    rows: Grid
    """The cells; empty where an answer held no grid."""
    right: bool | None = None
    """Whether it is the right answer; None for grids that were given and not answered."""


@runtime_checkable
class Renderable(Protocol):
    """A domain whose tasks and answers can be drawn."""

    def pictures(self, task: Task, answers: Sequence[str]) -> tuple[Picture, ...]:
        """The question, what is right where that is known, and what was answered."""
        ...


@runtime_checkable
class Submittable(Domain, Protocol):
    """A domain whose answers can be handed in somewhere."""

    def submission(self, tasks: Sequence[Task], answers: Mapping[str, Sequence[Sequence[str]]]) -> str:
        """The file's text: every task, with the answers of each of its trials where it has any."""
        ...
