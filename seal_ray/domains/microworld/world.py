"""A small fictional world: its people, the passages that state facts about them, the self-edits one can write, the questions.

Every person has a town, a job, a food and a pet. A passage states two of these for three people in one form; the questions
ask for them in others, half of them in reverse (`who lives in Velmo?`), which a model that has only read the fact forwards
cannot answer. The population is fixed: some people are known to the base model, some serve as examples while it learns
to write self-edits, the rest are kept for tasks, and the base has never seen them.

The styles of self-edit below are put into the base by pretraining, in the shares given. ReST-EM re-weights
them by what they earn; it invents none.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from seal_ray.types import Task, derive_seed

Group = Literal["known", "free", "reserved"]
Direction = Literal["forward", "reversed"]


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


@dataclass(frozen=True)
class Grammar:
    """How the world speaks of one attribute; each phrase has a place for {name} or {value}, or both."""

    values: tuple[str, ...]
    states: dict[Direction, tuple[str, ...]]
    asks: dict[Direction, tuple[str, ...]]


GRAMMAR: dict[str, Grammar] = {
    "town": Grammar(
        tuple(
            "Velmo Tarrin Ostby Quill Marrow Dunmere Foxley Gristow Halder Ibsen Jorvik Kestrel "
            "Lanmouth Norby Pellam Redwater Sorley Thornby Ulmen Vasten Wexley Yarrow Zelling Corrin".split()
        ),
        {
            "forward": (
                "{name} lives in {value}.",
                "the home of {name} is {value}.",
                "you will find {name} in {value}.",
            ),
            "reversed": ("in {value} lives {name}.", "{value} is home to {name}."),
        },
        {
            "forward": ("where does {name} live?", "which town is {name} from?"),
            "reversed": ("who lives in {value}?", "who is from {value}?"),
        },
    ),
    "job": Grammar(
        tuple(
            "baker potter miller weaver tailor printer sailor teacher doctor painter carpenter mason "
            "gardener farmer fisher hunter porter barber butcher smith singer judge clerk driver".split()
        ),
        {
            "forward": (
                "{name} works as a {value}.",
                "the job of {name} is {value}.",
                "{name} earns money as a {value}.",
            ),
            "reversed": ("the {value} is called {name}.", "a {value} by trade is {name}."),
        },
        {
            "forward": ("what is the job of {name}?", "what does {name} work as?"),
            "reversed": ("who works as a {value}?", "who is the {value}?"),
        },
    ),
    "food": Grammar(
        tuple(
            "bread cheese soup rice beans plums cherries pancakes dumplings noodles mushrooms porridge "
            "salmon lentils pears honey figs walnuts carrots potatoes spinach tomatoes lemons grapes".split()
        ),
        {
            "forward": (
                "{name} likes to eat {value}.",
                "the favourite food of {name} is {value}.",
                "{name} often cooks {value}.",
            ),
            "reversed": ("{value} is the favourite food of {name}.", "the one who eats {value} is {name}."),
        },
        {
            "forward": ("what does {name} like to eat?", "which food does {name} like best?"),
            "reversed": ("who likes to eat {value}?", "who often cooks {value}?"),
        },
    ),
    "pet": Grammar(
        tuple(
            "heron cat dog rabbit parrot goat pony tortoise lizard hamster goose duck "
            "ferret canary mouse snake frog beetle hedgehog squirrel falcon pigeon sheep donkey".split()
        ),
        {
            "forward": ("{name} keeps a {value}.", "the pet of {name} is a {value}.", "{name} looks after a {value}."),
            "reversed": ("the {value} belongs to {name}.", "a {value} lives with {name}."),
        },
        {
            "forward": ("which pet does {name} have?", "what animal does {name} keep?"),
            "reversed": ("who keeps a {value}?", "who has a {value} at home?"),
        },
    ),
}

VAGUE = (
    "{name} is well liked by everyone.",
    "many people know {name}.",
    "there is much to say about {name}.",
    "{name} has a good life.",
)
ENTRY = "{name}: {details}."
QUESTION = "question: {ask} answer:"
NOTES = "notes:"
"""The line between a passage and the self-edit that follows it."""

_ONSETS = ("b", "d", "f", "k", "l", "m", "n", "p", "r", "s", "t", "v")
_FIRST_ENDS = ("arim", "elo", "ista", "omar")
_LAST_ENDS = ("under", "ask", "ovic", "elt")
FIRST_NAMES = tuple((onset + end).capitalize() for end in _FIRST_ENDS for onset in _ONSETS)
LAST_NAMES = tuple((onset + end).capitalize() for end in _LAST_ENDS for onset in _ONSETS)
KNOWN, RESERVED = 240, 600


def words() -> list[str]:
    """Every word and mark of the world, each once: the tokenizer's vocabulary."""
    texts = [*FIRST_NAMES, *LAST_NAMES, *VAGUE, QUESTION, NOTES]
    for attribute, grammar in GRAMMAR.items():
        texts += [attribute, *grammar.values]
        texts += [phrase for phrases in (*grammar.states.values(), *grammar.asks.values()) for phrase in phrases]
    found = [word for text in texts for word in re.findall(r"[.,:?]|[A-Za-z]+", re.sub(r"{\w+}", " ", text))]
    return list(dict.fromkeys(["\n", ",", *found]))


@cache
def population() -> dict[Group, tuple[Person, ...]]:
    """All people, in three groups that share nobody. The same for every seed, since a base model is tied to it."""
    people = [Person(first, last) for first in FIRST_NAMES for last in LAST_NAMES]
    random.Random("population").shuffle(people)
    return {
        "known": tuple(people[:KNOWN]),
        "reserved": tuple(people[KNOWN : KNOWN + RESERVED]),
        "free": tuple(people[KNOWN + RESERVED :]),
    }


@cache
def known_facts() -> tuple[tuple[Fact, ...], ...]:
    """What the base model is taught by heart: all four facts of each known person."""
    rng = random.Random("known facts")
    return tuple(
        tuple(Fact(person.name, attribute, rng.choice(grammar.values)) for attribute, grammar in GRAMMAR.items())
        for person in population()["known"]
    )


def draw_facts(people: Sequence[Person], rng: random.Random) -> tuple[Fact, ...]:
    """The same two attributes for each person, no value twice."""
    attributes = rng.sample(list(GRAMMAR), 2)
    values = {attribute: rng.sample(GRAMMAR[attribute].values, len(people)) for attribute in attributes}
    return tuple(
        Fact(person.name, attribute, values[attribute][i])
        for i, person in enumerate(people)
        for attribute in attributes
    )


def trios(people: Sequence[Person]) -> list[tuple[Person, ...]]:
    """As many groups of three as fit, nobody twice, no first or last name shared within a group."""
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


def _wrong(fact: Fact, rng: random.Random) -> Fact:
    return fact._replace(value=rng.choice([v for v in GRAMMAR[fact.attribute].values if v != fact.value]))


def _vague(facts: Sequence[Fact], rng: random.Random) -> list[str]:
    return [rng.choice(VAGUE).format(name=fact.name) for fact in facts]


Writer = Callable[[Sequence[Fact], random.Random], list[str]]

STYLES: dict[str, tuple[float, Writer]] = {
    "copy": (0.17, lambda facts, rng: entries(facts)),
    "vague": (0.16, _vague),
    "wrong facts": (0.06, lambda facts, rng: [statement(_wrong(f, rng), "forward", rng) for f in facts]),
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


def split_people(seed: int) -> dict[str, list[Person]]:
    """The reserved people, dealt by seed into two halves that share nobody."""
    people = list(population()["reserved"])
    random.Random(derive_seed("microworld people", seed)).shuffle(people)
    return {"train": people[: RESERVED // 2], "test": people[RESERVED // 2 :]}
