"""Questions for passages that came without any: the prompt for a model, and how its text is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from seal_ray.grading.text import normalized, stem
from seal_ray.record.unspaced import spaced
from seal_ray.types import DataError, Message, Prompt

_TASK = (
    "Below is a passage. Write {count} questions on facts it states, each with a short answer of a few words taken "
    "from the passage. Each question makes sense without the passage and has one right answer. Write each as two "
    'lines: "Question 1: …", then "Answer: …".'
)
# Marks and numbers around a label are bounded: unbounded ones next to each other take the square of their length.
_QUESTION = re.compile(r"\W{0,8}(?:Question|Q)\W{0,4}\d{0,4}\W{0,4}?[:.：](?P<text>.*)", re.IGNORECASE)
_ANSWER = re.compile(r"\W{0,8}(?:Answer|A)\W{0,4}\d{0,4}\W{0,4}?[:：](?P<text>.*)", re.IGNORECASE)
_LONGEST_ANSWER = 200


def question_prompt(title: str, context: str, chat: bool, count: int = 5) -> Prompt:
    """The prompt after which `parse_questions` can read what a model writes."""
    text = f"{_TASK.format(count=count)}\n\nTitle: {title}\n{context.strip()}"
    return (Message("user", text),) if chat else f"{text}\n\nQuestion 1:"


def parse_questions(completion: str, count: int = 5) -> tuple[tuple[str, str], ...]:
    """Question and answer pairs of a completion, at most `count`; `DataError` when there is none."""
    lines = [line.strip() for line in completion.splitlines() if line.strip()]
    if lines and not _QUESTION.match(lines[0]):
        lines[0] = f"Question 1: {lines[0]}"  # the prompt ends with that label
    pairs: dict[str, str] = {}
    question = ""
    for label, text in _labelled(lines):
        if label == "question":
            question = text
        elif label == "answer" and _is_asked(question) and text and len(text) <= _LONGEST_ANSWER:
            pairs.setdefault(question, text)
            question = ""
        else:
            question = ""
    if not pairs:
        raise DataError("the completion holds no question with an answer")
    return tuple(pairs.items())[:count]


def _is_asked(question: str) -> bool:
    """Whether it ends as questions do: in Greek with a mark that looks like a semicolon."""
    return question.endswith(("?", "？", "؟", "\u037e")) or (question.endswith(";") and not question.isascii())


def _labelled(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each line with what it is; the text of a label that stands alone is the line after it."""
    waiting = ""
    for line in lines:
        question, answer = _QUESTION.match(line), _ANSWER.match(line)
        found = question or answer
        if found is None:
            yield waiting, line
            waiting = ""
            continue
        label, text = ("question" if question else "answer"), found["text"].strip()
        waiting = "" if text else label
        if text:
            yield label, text


_SHOWN = """Text about Fort Balden: Fort Balden was built in 1642 by Count Ulrich to guard the salt road. It has walls \
of red brick that are nine metres thick. Today it is a museum of clocks, led by Petra Lindgren.
Questions:
Question 1: Who built Fort Balden?
Answer: Count Ulrich
Question 2: When was Fort Balden built?
Answer: 1642
Question 3: What was Fort Balden built to guard?
Answer: the salt road
Question 4: How thick are the walls of Fort Balden?
Answer: nine metres
Question 5: What kind of museum is in Fort Balden today?
Answer: a museum of clocks
Question 6: Who leads the museum in Fort Balden?
Answer: Petra Lindgren

Text about The Marsh Otter / Food: The marsh otter eats mostly crayfish. It hunts at night and stores what is left in \
a hollow tree. A grown otter needs two kilograms of food a day.
Questions:
Question 1: What does the marsh otter mostly eat?
Answer: crayfish
Question 2: When does the marsh otter hunt?
Answer: at night
Question 3: Where does the marsh otter store its food?
Answer: in a hollow tree
Question 4: How much food does a grown marsh otter need a day?
Answer: two kilograms

"""
NEXT = "\nText about"
"""Where a completion of that goes on to a text of its own."""


def shown_prompt(title: str, context: str) -> str:
    """A prompt for small models, which write questions after examples better than when they are told to."""
    return f"{_SHOWN}Text about {title}: {' '.join(context.split())}\nQuestions:\nQuestion 1:"


_ALIKE = 0.75
"""Share of their words that two questions have in common when they ask the same."""
_POINTS = re.compile(r"\b(this|the|given|above) (passage|text|article|document|paragraph|section)\b", re.IGNORECASE)
_TELLS = re.compile(r"...|\d|[^\x00-\x7f]")
"""A word that an answer can be made of: no "in" or "of" alone."""
_SHORTEST, _LONGEST = 3, 40
"""Words of a question."""


def alike(question: str, other: str) -> bool:
    """Whether two questions ask the same in nearly the same words."""
    a, b = _telling(question), _telling(other)
    return len(a & b) >= _ALIKE * len(a | b)


def degenerate(question: str, answer: str, context: str) -> str:
    """Why a question is not to be asked; empty for one that may be."""
    asked, gold, said = map(_words, (question, answer, context))
    if not _SHORTEST <= len(asked) <= _LONGEST:
        return "too short or too long"
    if _POINTS.search(question):
        return "it points to a passage that is out of sight"
    if not gold or stands_in(answer, question):
        return "the answer stands in the question"
    if not any(map(_TELLS.search, gold)):
        return "the answer says nothing"
    if gold in (["yes"], ["no"], ["true"], ["false"]):
        return "a guess is right half the time"
    if not set(gold) & set(said):
        return "no word of the answer stands in the passage"
    return ""


def worth_asking(pairs: Iterable[tuple[str, str]], context: str, seen: list[str]) -> list[tuple[str, str]]:
    """Those that are fit to be asked about a passage and ask what was not `seen` before; all are seen then."""
    fit = []
    for question, answer in pairs:
        if not degenerate(question, answer, context) and not any(alike(question, other) for other in seen):
            fit.append((question, answer))
        seen.append(question)
    return fit


def stands_in(words: str, text: str) -> bool:
    """Whether a text has these words one after the other."""
    return f" {' '.join(_words(words))} " in f" {' '.join(_words(text))} "


def _telling(question: str) -> set[str]:
    return {stem(word) for word in _words(question)}


def _words(text: str) -> list[str]:
    return normalized(spaced(text)).split()
