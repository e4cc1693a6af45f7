"""How an answer is said: whether it speaks to the question in sentences, or is a heap of words that may hit.

Bounded, so that nothing earns by its length: what stands after the first words of a text is not looked at.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from seal_ray.grading.base import Item

WORDS, CHARACTERS = 64, 2000
"""No answer that the verdict was learnt from is longer."""
_SPACED = re.compile(r"\S+")
_MARK = re.compile(r"[,;.:]")
_CAPITAL = re.compile(r"\b[A-Z]\w*")


def bounded(item: Item) -> Item:
    """An item with as much of each text as is looked at."""
    return replace(
        item,
        question=_start(item.question),
        gold=_start(item.gold),
        answer=_start(item.answer),
        title=_start(item.title),
    )


def _start(text: str) -> str:
    text = text.strip()[:CHARACTERS]
    last = next(itertools.islice(_SPACED.finditer(text), WORDS - 1, None), None)
    return text[: last.end()] if last else text


def texture(answer: str, given: Sequence[str], little: Set[str], rarity: Mapping[str, float]) -> dict[str, float]:
    """What an answer's words are like: `given` are their stems, `little` the stems that carry no fact."""
    count = max(1, len(given))
    longest = run = 0
    for word in given:
        run = 0 if word in little else run + 1
        longest = max(longest, run)
    return {
        "little_words": sum(word in little for word in given) / count,
        "longest_without": math.log1p(longest),
        "unknown_words": sum(word not in rarity for word in given) / count,
        # One of each to a word is as many as any answer has, and a word such as `9,9,9` holds several.
        "marks": min(1.0, len(_MARK.findall(answer)) / count),
        "capitals": min(1.0, len(_CAPITAL.findall(answer)) / count),
        "digits": sum(word[0].isdigit() for word in given) / count,
    }


def manner(found: Mapping[str, float], beside: int) -> dict[str, float]:
    """Traits from the verdict's features, and the number of words that neither gold answer nor question bring.

    Heaps of words differ from answers by thresholds, not by degrees: an answer has some words of the question, some
    that carry no fact, and few marks, so what counts is how far it stays below or goes beyond.
    """
    echo, little, marks = found["echo"], found["little_words"], found["marks"]
    traits = {
        "mute": max(0.0, 0.3 - echo) / 0.3,
        "dry": max(0.0, 0.3 - little) / 0.3,
        "chopped": min(3.0, max(0.0, marks - 0.2) / 0.2),
        "breathless": max(0.0, found["longest_without"] - 1.8),
        "repeats": found["repeats"],
        "shouting": max(0.0, found["capitals"] - 0.4),
        "echo": echo,
        "little": little,
        "marks": min(marks, 1.0),
    }
    more = {
        "silent": max(0.0, 0.12 - echo) / 0.12,
        "parched": max(0.0, 0.15 - little) / 0.15,
        "digits": found["digits"],
    }
    much, some = math.log1p(beside), min(1.0, beside / 2)
    said = {"much": much, "some": some, "log_words": found["log_words"]}
    for name, value in (traits | more).items():
        said |= {name: value, f"{name}, much": value * much, f"{name}, some": value * some}
    for (one, a), (other, b) in itertools.combinations(traits.items(), 2):
        said[f"{one}, {other}"] = a * b * some
    return said
