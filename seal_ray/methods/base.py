"""What a method of learning a text is given, and what it makes of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from seal_ray import plugins
from seal_ray.config import Evaluation
from seal_ray.continual.library import Index, read_of
from seal_ray.domains.base import Baseline, Studied
from seal_ray.gathering import all_of
from seal_ray.plain import one_line
from seal_ray.record.methods import Arm
from seal_ray.types import DataError, Example, Recipe, SelfEdit, Task, UserError

logger = logging.getLogger(__name__)

METHODS = {
    "in-context": "seal_ray.methods.unwritten:InContext",
    "retrieval": "seal_ray.methods.retrieved:Retrieval",
    "retrieval-3": "seal_ray.methods.retrieved:OfThree",
    "passage": "seal_ray.methods.unwritten:Passage",
    "past": "seal_ray.methods.past:Past",
    "seal": "seal_ray.methods.written:Seal",
    "untrained": "seal_ray.methods.written:Untrained",
    "rephrase": "seal_ray.methods.written:Rephrase",
    "qa": "seal_ray.methods.written:Qa",
    "spa": "seal_ray.methods.written:Spa",
    "active-reading": "seal_ray.methods.proposed:ActiveReading",
    "entigraph": "seal_ray.methods.proposed:EntiGraph",
    "context-distillation": "seal_ray.methods.distilled:ContextDistillation",
    "context-distillation-qa": "seal_ray.methods.distilled:OfQuestions",
    "generated": "seal_ray.methods.generated:Generated",
    "generated-qa": "seal_ray.methods.generated:WithAnswers",
    "generated-start": "seal_ray.methods.generated:Started",
}

_STUDIED = "styles", "in_style", "text", "pieces", "train_on", "in_sight", "teacher"
EXTERNAL = "external:"
"""What an adapter from elsewhere is named by, before its PEFT folder."""
_EXTERNAL = "seal_ray.methods.unwritten:External"

Write = Callable[[Studied, Task, int], Awaitable[SelfEdit]]
"""What is written of a task when this domain asks for it, the n-th time."""


@dataclass(frozen=True)
class Desk:
    """Where a method works."""

    domain: Studied
    write: Write = field(repr=False)
    tasks: Sequence[Task] = ()
    """All tasks that are measured: retrieval looks for a question's passage among them."""

    @cached_property
    def index(self) -> Index:
        """Their texts, to be found by their words."""
        return Index([*map(read_of, self.tasks)])

    async def write_each(self, asked: Iterable[tuple[Studied, int]], task: Task) -> list[Piece]:
        """A text in each of these styles, its n-th one, with what the domain trains on of it."""

        async def one(domain: Studied, index: int) -> Piece:
            edit = await self.write(domain, task, index)
            try:
                return Piece(edit, domain.pieces(task, edit.completion) if not edit.refused else ())
            except DataError as error:
                logger.info("a text is left out: %s", one_line(str(error)))
                return Piece(edit, ())

        return await all_of(one(*each) for each in asked)


@dataclass(frozen=True)
class Piece:
    """A text that was written, and what is trained on of it; nothing where it could not be used."""

    edit: SelfEdit
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Study:
    """What a method makes of a task: what is trained and asked, and what was written for it."""

    trial: Baseline
    edits: tuple[SelfEdit, ...] = ()
    found: float | None = None
    """The share of its questions that found their own text; None where none was looked for."""


class Method(Protocol):
    """One's own is named as `package.module:Thing`, and made without arguments."""

    writes: bool
    """Whether it has texts written; one that does not is the same for any number of them."""
    trains: bool
    """Whether anything is trained; only that can be trained on all tasks at once."""
    by_policy: bool
    """Whether the policy that the rounds made writes, and is what is trained on top of; else the untouched base.

    A method with `by_skill = True` is trained on top of the skill instead, which is learnt before: see past.py; with
    `by_generator = True` on top of what a network writes: see generated.py.
    """

    def lacks(self, domain: Studied) -> str:
        """What the method needs and this domain cannot do; empty where it can do all."""
        ...

    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        """What is trained for a task with so many texts written of it; a larger number begins with the same texts."""
        ...


async def study_of(method: Method, task: Task, texts: int, desk: Desk) -> Study:
    """What a method makes of a task, which one of the user's own may get wrong."""
    found = await method.study(task, texts, desk)
    return plugins.given(f"evaluation.methods: `study` of {type(method).__name__}", found, Study)


def whole(studies: Iterable[Study]) -> Recipe:
    """One recipe of all that these train, with the settings of the first."""
    recipes = [study.trial.recipe for study in studies if study.trial.recipe]
    return replace(recipes[0], examples=tuple(example for recipe in recipes for example in recipe.examples))


def arms_of(settings: Evaluation) -> list[Arm]:
    """The methods that are measured, each with every number of texts and every budget."""
    alone = [arm for name in settings.methods for arm in _arms(name, settings)]
    trained = (arm for arm in alone if settings.joint_methods and _kind(arm.method).trains)
    return [*alone, *(arm._replace(together=True) for arm in trained)]


def _arms(name: str, settings: Evaluation) -> list[Arm]:
    kind = _kind(name)
    if not kind.writes:
        return [Arm(name)]
    by_texts = (Arm(name, texts) for texts in dict.fromkeys(settings.texts))
    written = (Arm(name, budget=budget) for budget in dict.fromkeys(settings.budgets))
    trained = (Arm(name, trained=budget) for budget in dict.fromkeys(settings.trained_budgets if kind.trains else ()))
    return [*by_texts, *written, *trained]


def _kind(name: str) -> type[Method]:
    name = _EXTERNAL if name.startswith(EXTERNAL) else name
    members = ("writes", "trains", "by_policy", "lacks", "study")
    kind: type[Method] = plugins.find_with(
        "evaluation.methods", name, METHODS, members, "seal_ray/methods/base.py", "study"
    )
    return kind


def makes_adapter(name: str) -> bool:
    """Whether a method makes an adapter of what the base writes, and needs nothing else; one not at hand does not."""
    try:
        kind = _kind(name)
    except UserError:
        return False
    return kind.trains and not kind.by_policy and not by_skill(name)


def by_skill(name: str) -> bool:
    """Whether a method needs the skill that is learnt on training tasks."""
    return getattr(_kind(name), "by_skill", False)


def by_generator(name: str) -> bool:
    """Whether a method asks under adapters that a network writes."""
    return getattr(_kind(name), "by_generator", False)


def folder_of(name: str) -> Path | None:
    """The PEFT folder that a method names, where it is an adapter from elsewhere."""
    return Path(name.removeprefix(EXTERNAL)) if name.startswith(EXTERNAL) else None


def find_method(name: str, domain: object) -> Method:
    """The method of that name, which this domain must allow."""
    kind = _kind(name)
    if not isinstance(domain, Studied):
        called = getattr(domain, "name", domain)
        lacking = next((member for member in _STUDIED if not hasattr(domain, member)), "name")
        needs = f"{lacking!r} is missing of `Studied` in seal_ray/domains/base.py"
        raise UserError(f"evaluation.methods: the domain {called!r} has no text that can be studied: {needs}")
    method: Method = plugins.made(f"evaluation.methods: {name!r} is made without arguments", kind)
    if lacks := method.lacks(domain):
        where = f"in the domain {domain.name!r}"
        raise UserError(f"evaluation.methods: {name!r} cannot be had {where}, {lacks}; leave it out")
    return method


def trained(pieces: Sequence[Piece], text: Sequence[Example], task: Task, domain: Studied) -> Study:
    """The study that trains on what was written of a task and on its text."""
    examples = [example for piece in pieces for example in piece.examples]
    trial = Baseline(domain.train_on([*examples, *text]), domain.questions(task))
    return Study(trial, tuple(piece.edit for piece in pieces))
