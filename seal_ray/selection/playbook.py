"""Hints for writing self-edits: what counts as one, which are in force, and when one is dropped.

A hint is a line of advice. Some of a task's self-edits are written with one and some without; what the first gained
over the second is what is known of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from seal_ray.plain import one_line, spoken
from seal_ray.record.summary import FEWEST, interval
from seal_ray.record.variety import words
from seal_ray.types import DataError

LONGEST = 200
"""Characters of a hint: it stands in every prompt."""
_FEWEST_WORDS, _MOST_WORDS = 3, 30
_ALIKE = 0.6
"""Hints with so large a share of their words in common are one."""
_COPIED = 4
"""So many words in a row that a task's texts have too are taken from there."""
_LONG_ENOUGH = 48
"""Self-edits after which a hint has had its chance: one that has not been seen to pay by then makes room."""
_MARKS = " \t*_#>`\"'“”‘’•-–"
_LABEL = re.compile(r"^(?:\d+[.)]\s*)?(?:[\w', ]{0,30}\b(?:advice|answer|hint|rule|tip)\b[\w' ]{0,10}:)?", re.I)
_POINTS = re.compile(r"\b(?:the (?:first|second|former|latter|other)|(?:notes?|set|version|text) [ab12])\b", re.I)
"""What only someone understands who sees what the model was shown."""
_SENTENCE = re.compile(r"(?<=[.!?])\s")
_WORD_OF_TEXT = re.compile(r"(?:^|(?P<begins>[.!?:;\"“*#>\n-]\s*)|[^\w])(?P<word>\w+)")


@dataclass(frozen=True)
class Hint:
    """A line of advice, known by its text, and what it has gained so far."""

    text: str
    since: int
    """The round from which on self-edits are written with it."""
    tried: int = 0
    """How many were."""
    gained: tuple[tuple[str, float], ...] = ()
    """For each of those its task, and what it earned over what the task's self-edits without a hint did."""
    dropped: int = 0
    """The round after which it was; 0 for one in force."""

    @property
    def of_tasks(self) -> dict[str, float]:
        """The mean gain of each task that it was tried on."""
        of_task: dict[str, list[float]] = {}
        for task, gain in self.gained:
            of_task.setdefault(task, []).append(gain)
        return {task: fmean(gains) for task, gains in of_task.items()}

    @property
    def gains(self) -> tuple[float, ...]:
        """Those means."""
        return tuple(self.of_tasks.values())

    def after(self, round_: int, gained: Sequence[tuple[str, float]]) -> Hint:
        """The hint after one more round: dropped where it is seen to cost, or had its chance and did not pay."""
        known = replace(self, tried=self.tried + len(gained), gained=(*self.gained, *gained))
        if len(gains := known.gains) < FEWEST:
            return known
        found = interval(gains)
        out = found.high < 0 or (known.tried >= _LONG_ENOUGH and found.low <= 0)
        return replace(known, dropped=round_) if out else known


def in_force(hints: Iterable[Hint]) -> list[Hint]:
    """Those that self-edits are written with."""
    return [hint for hint in hints if not hint.dropped]


def paying(hints: Iterable[Hint]) -> list[Hint]:
    """Those in force that gained on average, over enough tasks to say so; the best first."""
    means = {hint: fmean(hint.gains) for hint in in_force(hints) if len(hint.gains) >= FEWEST}
    return sorted((hint for hint, mean in means.items() if mean > 0), key=lambda hint: (-means[hint], hint.text))


def alike(hint: str, other: str) -> bool:
    """Whether two hints say nearly the same words."""
    a, b = set(words(hint)), set(words(other))
    return len(a & b) >= _ALIKE * len(a | b)


def advice(reply: str, texts: Sequence[str], known: Iterable[str]) -> str:
    """The hint in a model's reply, which was shown these texts of a task; `DataError` says why there is none."""
    if (after := spoken(reply)) is None:
        raise DataError("the reply is a thought that has not come to its end")
    hint = _cleaned(after)
    said = words(hint)
    if not _FEWEST_WORDS <= len(said) <= _MOST_WORDS or len(hint) > LONGEST:
        raise DataError("the reply is no line of advice: it is too short or too long")
    if _POINTS.search(hint):
        raise DataError("the reply points to what its reader does not see")
    if taken := sorted(_names(texts) & set(said)):
        raise DataError(f"the reply names what the text is about: {one_line(', '.join(taken), 60)}")
    if _runs(said) & {run for text in texts for run in _runs(words(text))}:
        raise DataError("the reply repeats the text")
    if any(alike(hint, other) for other in known):
        raise DataError("the reply says what another hint does")
    return hint


def _cleaned(reply: str) -> str:
    """The first line that says something, without numbers, marks and labels before it; of a long one, a sentence."""
    for line in reply.splitlines():
        said = _LABEL.sub("", line.strip(_MARKS), count=1).strip(_MARKS)
        if said and not said.endswith(":"):
            whole = one_line(said, 4 * LONGEST)
            return whole if len(whole) <= LONGEST else _SENTENCE.split(whole)[0]
    return ""


def _names(texts: Iterable[str]) -> set[str]:
    """The names in texts: numbers, and words that have a capital within sentences and never go without one."""
    capital, small = set(), set()
    for text in texts:
        for found in _WORD_OF_TEXT.finditer(text):
            word = found["word"]
            if len(word) > 1 and word.isdigit():
                capital.add(word)
            elif word[0].isupper():
                if found.start() and found["begins"] is None:
                    capital.add(word.lower())
            else:
                small.add(word.lower())
    return capital - small


def _runs(said: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(said[at : at + _COPIED]) for at in range(len(said) - _COPIED + 1)}
