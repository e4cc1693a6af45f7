"""A small fictional world: its people, the passages about them, the self-edits one can write, the questions.

Every person has a town, a job, a food and a pet. A passage states two of these for three people in one form. The
questions ask in others, half of them in reverse (`who lives in Velmo?`), which a model that has only read the fact
forwards cannot answer. The population is fixed: some people are known to the base model, some are the strangers
about whom it learns to write self-edits, and the rest are kept for tasks; the base has never seen those.

The styles of self-edit are put into the base by pretraining, in the shares given below. ReST-EM re-weights them by
what they earn; it invents none.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from seal_ray.domains.microworld.grammar import (
    ENTRY,
    FIRST_NAMES,
    GRAMMAR,
    GUESS,
    LAST_NAMES,
    NOTES,
    QUESTION,
    VAGUE,
    Direction,
)
from seal_ray.types import Task

Group = Literal["known", "train", "test", "free"]


class Person(NamedTuple):
    first: str
    last: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"


class Fact(NamedTuple):
    name: str
    attribute: str
    value: str


@dataclass(frozen=True)
class MicroTask(Task):
    """A passage about three people, with what it states as data."""

    facts: tuple[Fact, ...] = ()


KNOWN, RESERVED = 160, 300
"""People the base knows, and people kept for the tasks of each split."""


@cache
def population() -> dict[Group, tuple[Person, ...]]:
    """All people, in four groups that share nobody. The same for every seed, since a base model is tied to it."""
    people = [Person(first, last) for first in FIRST_NAMES for last in LAST_NAMES]
    random.Random("population").shuffle(people)
    return {
        "known": tuple(people[:KNOWN]),
        "train": tuple(people[KNOWN : KNOWN + RESERVED]),
        "test": tuple(people[KNOWN + RESERVED : KNOWN + 2 * RESERVED]),
        "free": tuple(people[KNOWN + 2 * RESERVED :]),
    }


@cache
def known_facts() -> tuple[tuple[Fact, ...], ...]:
    """What the base model is taught by heart: all four facts of each known person."""
    rng = random.Random("known facts")
    return tuple(
        tuple(Fact(person.name, attribute, rng.choice(grammar.values)) for attribute, grammar in GRAMMAR.items())
        for person in population()["known"]
    )


@cache
def known_values() -> dict[tuple[str, str], str]:
    """The same, by a person's name and what is told of them."""
    return {(fact.name, fact.attribute): fact.value for facts in known_facts() for fact in facts}


def otherwise(people: Sequence[Person], rng: random.Random, versions: int) -> list[tuple[Fact, ...]]:
    """Facts of people whom the base knows, so many times: never those that it knows, and each time others."""
    known = known_values()
    drawn = draw_facts(people, rng)
    said = {}
    for attribute in dict.fromkeys(fact.attribute for fact in drawn):
        about = [fact.name for fact in drawn if fact.attribute == attribute] * versions
        taken = {known[name, attribute] for name in about}
        values = [value for value in GRAMMAR[attribute].values if value not in taken]
        said[attribute] = iter(rng.sample(values, len(about)))
    return [tuple(fact._replace(value=next(said[fact.attribute])) for fact in drawn) for _ in range(versions)]


def draw_facts(people: Sequence[Person], rng: random.Random) -> tuple[Fact, ...]:
    """Two attributes and their values for each person: the same attributes for all, no value twice."""
    attributes = rng.sample(list(GRAMMAR), 2)
    values = {attribute: rng.sample(GRAMMAR[attribute].values, len(people)) for attribute in attributes}
    return tuple(
        Fact(person.name, attribute, values[attribute][i])
        for i, person in enumerate(people)
        for attribute in attributes
    )


def trios(people: Sequence[Person]) -> list[tuple[Person, ...]]:
    """The people in groups of three, as many as fit, nobody twice, no first or last name shared within a group."""
    groups: list[list[Person]] = []
    for person in people:
        for group in groups:
            if len(group) < 3 and all(person.first != other.first and person.last != other.last for other in group):
                group.append(person)
                break
        else:
            groups.append([person])
    return [tuple(group) for group in groups if len(group) == 3]


def entries(facts: Sequence[Fact]) -> list[str]:
    """The lines of the passage: one for each person."""
    by_name: dict[str, list[Fact]] = {}
    for fact in facts:
        by_name.setdefault(fact.name, []).append(fact)
    return [
        ENTRY.format(name=name, details=", ".join(f"{fact.attribute} {fact.value}" for fact in own))
        for name, own in by_name.items()
    ]


def statement(fact: Fact, direction: Direction, rng: random.Random) -> str:
    return rng.choice(GRAMMAR[fact.attribute].states[direction]).format(name=fact.name, value=fact.value)


def question(fact: Fact, direction: Direction, rng: random.Random) -> tuple[str, str]:
    """A question's prompt, and its answer: the value, or in reverse the name."""
    ask = rng.choice(GRAMMAR[fact.attribute].asks[direction]).format(name=fact.name, value=fact.value)
    return QUESTION.format(ask=ask), fact.value if direction == "forward" else fact.name


def answered(fact: Fact, direction: Direction, rng: random.Random) -> str:
    prompt, answer = question(fact, direction, rng)
    return f"{prompt} {answer}."


def _guess(fact: Fact, rng: random.Random) -> str:
    """A statement that is wrong."""
    wrong = rng.choice([value for value in GRAMMAR[fact.attribute].values if value != fact.value])
    return GUESS.format(statement=statement(fact._replace(value=wrong), "forward", rng))


def _vague(facts: Sequence[Fact], rng: random.Random) -> list[str]:
    return [rng.choice(VAGUE).format(name=fact.name) for fact in facts]


Writer = Callable[[Sequence[Fact], random.Random], list[str]]

STYLES: dict[str, tuple[float, Writer]] = {
    "copy": (0.17, lambda facts, rng: entries(facts)),
    "vague": (0.16, _vague),
    "wrong facts": (0.06, lambda facts, rng: [_guess(f, rng) for f in facts]),
    "facts": (0.19, lambda facts, rng: [statement(f, "forward", rng) for f in facts]),
    "questions": (0.15, lambda facts, rng: [answered(f, "forward", rng) for f in facts]),
    "reversed facts": (0.11, lambda facts, rng: [statement(f, "reversed", rng) for f in facts]),
    "reversed questions": (0.09, lambda facts, rng: [answered(f, "reversed", rng) for f in facts]),
    "questions both ways": (
        0.07,
        lambda facts, rng: [answered(f, d, rng) for f in facts for d in ("forward", "reversed")],
    ),
}
"""Each style's share of what the base is taught to write, and how it is written."""


def self_edit(style: str, facts: Sequence[Fact], rng: random.Random) -> str:
    """A faultless self-edit in one style."""
    return "\n".join(STYLES[style][1](facts, rng))


def prompt_of(facts: Sequence[Fact]) -> str:
    """What stands before a self-edit: the passage and the line that announces the notes."""
    return "\n".join([*entries(facts), NOTES, ""])
