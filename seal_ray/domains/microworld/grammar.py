"""The language of the micro-world: its names, its values, and every phrase in which a fact can be told or asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Direction = Literal["forward", "reversed"]


def _values(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@dataclass(frozen=True)
class Grammar:
    """How the world speaks of one attribute; each phrase has a place for {name} or {value}, or both."""

    values: tuple[str, ...]
    states: dict[Direction, tuple[str, ...]]
    asks: dict[Direction, tuple[str, ...]]


GRAMMAR: dict[str, Grammar] = {
    "town": Grammar(
        _values(
            "Velmo Tarrin Ostby Quill Marrow Dunmere Foxley Gristow Halder Ibsen Jorvik Kestrel "
            "Lanmouth Norby Pellam Redwater Sorley Thornby Ulmen Vasten Wexley Yarrow Zelling Corrin"
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
        _values(
            "baker potter miller weaver tailor printer sailor teacher doctor painter carpenter mason "
            "gardener farmer fisher hunter porter barber butcher smith singer judge clerk driver"
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
        _values(
            "bread cheese soup rice beans plums cherries pancakes dumplings noodles mushrooms porridge "
            "salmon lentils pears honey figs walnuts carrots potatoes spinach tomatoes lemons grapes"
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
        _values(
            "heron cat dog rabbit parrot goat pony tortoise lizard hamster goose duck "
            "ferret canary mouse snake frog beetle hedgehog squirrel falcon pigeon sheep donkey"
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
GUESS = "perhaps {statement}"
"""How wrong facts are told: told as facts, they would teach the model to get one fact in four wrong."""
NOTES = "notes:"
"""The line between a passage and the self-edit that follows it."""

METHOD_STYLES = {
    "rephrase": ("facts",),
    "qa": ("questions", "reversed questions"),
    "spa": ("copy", "facts", "reversed facts", "questions", "reversed questions"),
}
"""The styles, by what `world.STYLES` calls them, that a method of writing has here."""


def opening(style: str, name: str, attribute: str, value: str) -> str:
    """The words with which notes of a style begin, about this fact: the world has no instructions."""
    states, asks = GRAMMAR[attribute].states, GRAMMAR[attribute].asks
    if style == "copy":
        return ENTRY.partition("{details}")[0].format(name=name).strip()
    if style == "facts":
        return states["forward"][1].partition("{name}")[0].strip()
    if style == "reversed facts":
        return states["reversed"][0].partition("{value}")[0] + value
    direction: Direction = "forward" if style == "questions" else "reversed"
    ask = asks[direction][0].partition("{")[0].strip()
    return QUESTION.partition("{ask}")[0] + ask


_ONSETS = ("b", "d", "f", "k", "l", "m", "n", "p", "r", "s", "t", "v")
_FIRST_ENDS = ("arim", "elo", "ista", "omar")
_LAST_ENDS = ("under", "ask", "ovic", "elt")
FIRST_NAMES = tuple((onset + end).capitalize() for end in _FIRST_ENDS for onset in _ONSETS)
LAST_NAMES = tuple((onset + end).capitalize() for end in _LAST_ENDS for onset in _ONSETS)


def words() -> list[str]:
    """Every word and mark of the world, each once: the tokenizer's vocabulary."""
    texts = [*FIRST_NAMES, *LAST_NAMES, *VAGUE, QUESTION, GUESS, NOTES]
    for attribute, grammar in GRAMMAR.items():
        texts += [attribute, *grammar.values]
        texts += [phrase for phrases in (*grammar.states.values(), *grammar.asks.values()) for phrase in phrases]
    found = [word for text in texts for word in re.findall(r"[.,:?]|[A-Za-z]+", re.sub(r"{\w+}", " ", text))]
    return list(dict.fromkeys(["\n", ",", *found]))
