"""The micro-world as a domain: passages about people nobody has met, and closed-book questions about them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from seal_ray.domains.base import Baseline, Split
from seal_ray.domains.microworld import world
from seal_ray.domains.microworld.describe import describe_text
from seal_ray.domains.microworld.grammar import METHOD_STYLES, NOTES, Direction, opening
from seal_ray.domains.microworld.world import MicroTask
from seal_ray.types import (
    Bounds,
    DataError,
    Example,
    Grade,
    LoraSpec,
    OptimSpec,
    Prompt,
    Question,
    Recipe,
    Task,
    UserError,
    derive_seed,
)

BASE = Path(__file__).parent / "base"
"""The base model that ships with the package, as an ordinary Hugging Face folder."""

_KNOWN_TASKS = 8
"""Groups of three people whom the base knows, about whom is asked what learning cost it."""
_CONTRADICTED = 96
"""People whom it knows, the last ones, of whom passages may say another thing."""
_OF, _AGAIN = 8, 2
"""Of so many such passages, so many are about the people of the first ones."""
LORA = LoraSpec(16, 16.0, ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"))
OPTIM = OptimSpec(lr=2e-2, epochs=15, batch_size=64, betas=(0.9, 0.98))
"""How a trial trains: a batch larger than any self-edit, so that an epoch is one step on all its lines."""


class MicroWorld:
    """Tasks of three people and two attributes each, twelve questions a task; the reward is the share answered exactly.

    Every line of the passage and of the self-edit is a training text of its own: packed together, the model would learn
    to read the answer off its context.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """What a config may set under the domain; unknown keys are refused."""

        directions: Annotated[tuple[Direction, ...], Bounds(min_length=1)] = ("forward", "reversed")
        """Which way the questions ask: both, or one of the two."""
        contradicts: bool = False
        """Held-out passages say another thing of people whom the base knows; of eight, the last two another thing than
        the first two."""

    name = "microworld"
    schema: dict[str, Any] | None = None
    stop: tuple[str, ...] = (".", "\n")
    fixed_answers = True
    """No answer has more tokens than it may have; one of that length is whole."""
    sample_stop: tuple[str, ...] = ()

    def __init__(self, options: Options | None = None, lora: LoraSpec = LORA, optim: OptimSpec = OPTIM) -> None:
        self.options = options or self.Options()
        self.lora = lora
        self.optim = optim
        self._style = ""
        """What self-edits are to be like; as the policy likes where nothing is said."""

    def tasks(self, split: Split, count: int | None, seed: int) -> Sequence[MicroTask]:
        """A longer list starts with the shorter one; train and test share nobody, whatever their seeds."""
        contradicts = self.options.contradicts and split == "test"
        people = list(world.population()["known"][-_CONTRADICTED:] if contradicts else world.population()[split])
        random.Random(derive_seed("microworld people", split, seed)).shuffle(people)
        groups = world.trios(people)
        most = len(groups) * _OF // (_OF - _AGAIN) if contradicts else len(groups)
        if count is not None and count > most:
            raise UserError(f"microworld has {most} {split} tasks, {count} were asked for; ask for fewer")
        make = self._contradiction if contradicts else self._task
        return [make(split, i, groups, seed) for i in range(most if count is None else count)]

    def _task(self, split: Split, index: int, groups: Sequence[Sequence[world.Person]], seed: int) -> MicroTask:
        rng = random.Random(derive_seed("microworld task", split, index, seed))
        return self._asked(split, index, groups[index], seed, world.draw_facts(groups[index], rng), rng)

    def _contradiction(
        self, split: Split, index: int, groups: Sequence[Sequence[world.Person]], seed: int
    ) -> MicroTask:
        """A passage that says another thing than the base knows, or than an earlier passage as well."""
        block, place = divmod(index, _OF)
        version, place = divmod(place, _OF - _AGAIN)
        number = block * (_OF - _AGAIN) + place
        rng = random.Random(derive_seed("microworld contradiction", number, seed))
        facts = world.otherwise(groups[number], rng, 2)[version]
        return self._asked(split, index, groups[number], seed, facts, rng)

    def _asked(
        self,
        split: Split,
        index: int,
        people: Sequence[world.Person],
        seed: int,
        facts: tuple[world.Fact, ...],
        rng: random.Random,
    ) -> MicroTask:
        """The passage that tells these facts, with its questions."""
        asked = [world.question(fact, direction, rng) for direction in self.options.directions for fact in facts]
        return MicroTask(
            id=f"{split}-{seed}-{index:03d}",
            title=", ".join(person.name for person in people),
            context="\n".join(world.entries(facts)),
            questions=tuple(Question(prompt, answer) for prompt, answer in asked),
            family=" and ".join(sorted({fact.attribute for fact in facts})),
            facts=facts,
        )

    def known_before(self) -> Sequence[Task]:
        """Questions about people whom the base knows by heart."""
        asked = _asked_of(world.known_facts()[: 3 * _KNOWN_TASKS])
        size = len(asked) // _KNOWN_TASKS
        groups = [asked[at : at + size] for at in range(0, len(asked), size)]
        return [
            Task(f"known-{i:03d}", "people known before", "", tuple(Question(*pair) for pair in pairs))
            for i, pairs in enumerate(groups)
        ]

    def practice(self) -> Sequence[Prompt]:
        """Questions about others whom it knows, and of whom no passage says another thing."""
        last = -_CONTRADICTED if self.options.contradicts else None
        return [prompt for prompt, _ in _asked_of(world.known_facts()[3 * _KNOWN_TASKS : last])]

    def held_before(self, task: Task) -> Sequence[str]:
        """Of whom a passage asks, the base may know another fact by heart."""
        known = world.known_values()
        facts = task.facts if isinstance(task, MicroTask) else ()
        found = []
        for question in task.questions:
            asked = (f for f in facts if f.value == question.answer and f.name in str(question.prompt))
            found.append(next((known.get((fact.name, fact.attribute), "") for fact in asked), ""))
        return found

    def plain_texts(self) -> Sequence[Example]:
        """Sentences about people of whom nothing else is ever said."""
        rng, people = random.Random("plain texts"), world.population()["free"][: 3 * _KNOWN_TASKS]
        return [Example(world.statement(world.draw_facts([one], rng)[0], "forward", rng)) for one in people]

    def prompt(self, task: Task) -> Prompt:
        return self.teacher(task, ()) + self._opening(task)

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        return self.train_on([*self.text(task), *self.pieces(task, completion)])

    def baseline(self, name: str, task: Task, seed: int) -> Baseline | None:
        if name == "base":
            return Baseline(None, self.questions(task))
        if name == "passage only":
            return Baseline(self.train_on(self.text(task)), self.questions(task))
        if name == "in-context":
            return Baseline(None, tuple(self.in_sight(task, prompt) for prompt in self.questions(task)))
        return None

    def styles(self, method: str) -> Sequence[str]:
        return METHOD_STYLES.get(method, ())

    def strategies(self) -> Sequence[str]:
        return METHOD_STYLES["spa"]

    def in_style(self, style: str, about: str = "") -> MicroWorld:
        other = copy(self)
        other._style = style
        return other

    def with_hint(self, hint: str) -> MicroWorld:
        """The words that notes begin with are all the advice that the base can be given."""
        if hint not in self.strategies():
            there = ", ".join(self.strategies())
            raise UserError(f"{hint!r} is no hint that the micro-world's base takes; it takes {there}")
        return self.in_style(hint)

    def advising(self, best: str, worst: str) -> None:
        """The base writes no advice."""

    def text(self, task: Task) -> tuple[Example, ...]:
        return _lines(task.context)

    def pieces(self, task: Task, completion: str) -> tuple[Example, ...]:
        if not completion.strip():
            raise DataError(f"{task.id}: the self-edit is empty")
        return _lines(f"{self._opening(task)} {completion}")

    def train_on(self, examples: Sequence[Example]) -> Recipe:
        return Recipe(tuple(examples), self.lora, self.optim)

    def in_sight(self, task: Task, prompt: Prompt) -> Prompt:
        return f"{self.teacher(task, ())}{prompt}"

    def teacher(self, task: Task, before: Sequence[Example]) -> str:
        """The base reads facts off in their order, so a line without those before it would be read as the first."""
        return "".join(f"{line}\n" for line in (task.context, NOTES, *(example.completion for example in before)))

    def _opening(self, task: Task) -> str:
        """How a self-edit of this style begins, which is all that the base can be told."""
        return opening(self._style, *task.facts[0]) if self._style and isinstance(task, MicroTask) else ""

    def questions(self, task: Task) -> tuple[Prompt, ...]:
        return tuple(question.prompt for question in task.questions)

    def statements(self, task: Task) -> tuple[Example, ...]:
        return ()

    async def grade(self, task: Task, answers: Sequence[str]) -> Grade:
        if len(answers) != len(task.questions):
            raise ValueError(f"{task.id}: {len(answers)} answers to {len(task.questions)} questions")
        verdicts = tuple(
            float(answer.split() == question.answer.split())
            for answer, question in zip(answers, task.questions, strict=True)
        )
        return Grade(verdicts, sum(verdicts) / len(verdicts))


def _lines(text: str) -> tuple[Example, ...]:
    lines = (line.strip() for line in text.splitlines())
    return tuple(Example(line) for line in lines if line)


def _asked_of(people: Sequence[tuple[world.Fact, ...]]) -> list[tuple[str, str]]:
    """A question and its answer for each fact of people whom the base knows."""
    rng = random.Random("known before")
    return [world.question(fact, "forward", rng) for facts in people for fact in facts]


def describe(task: Task, completion: str) -> dict[str, float | str]:
    """What the policy wrote: `style`, `lines`, `right` (true share of its claims), `covered` (share of the facts)."""
    if not isinstance(task, MicroTask):
        raise TypeError(f"{task.id} is no task of the micro-world")
    return describe_text(task.facts, completion)
