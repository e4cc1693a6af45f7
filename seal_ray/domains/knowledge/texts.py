"""A completion as training texts: how a self-edit is cut into pieces, each under the passage's title."""

from __future__ import annotations

import re

_SECTION = "---"
_QUESTION = re.compile(r"Question \d+:")
_BEFORE_QUESTION = re.compile(r"\n(?=Question \d+:)")


def training_texts(
    title: str, context: str, completion: str, *, split_newlines: bool = True, pairs: bool = False
) -> list[str]:
    """The texts a trial trains on: the pieces of the completion, then the passage itself, last."""
    return [*pieces_of(title, completion, split_newlines, pairs), f"{title}\n{context.strip()}"]


def pieces_of(title: str, completion: str, split_newlines: bool, pairs: bool) -> list[str]:
    """The pieces of a completion, each under the passage's title.

    `split_newlines` makes a text of every line instead of every section. With `pairs`, sections that hold
    answers are cut before each `Question N:` instead, so that an answer stays with its question.
    """
    sections = completion.split(_SECTION)
    return [f"{title}\n{piece}" for section in sections for piece in _pieces(section, split_newlines, pairs)]


def _pieces(section: str, split_newlines: bool, pairs: bool) -> list[str]:
    section = section.strip()
    if pairs:
        if split_newlines and "Answer:" in section:
            return _question_pairs(section)
    else:
        section = _without_announcement(section)
    if not split_newlines:
        return [section] if section else []
    return [line.strip() for line in section.split("\n") if line.strip()]


def _without_announcement(section: str) -> str:
    """Drop a chatty first line ("Sure, here is a list:") that stands before item `1.`"""
    first, _, rest = section.partition("\n")
    announced = rest.lstrip().startswith("1.") and not first.lstrip().startswith("1.")
    return rest.strip() if announced else section


def _question_pairs(section: str) -> list[str]:
    # The prompt ends with "Question 1:", so the first question arrives without its label.
    first, *others = _BEFORE_QUESTION.split(section)
    label = "" if _QUESTION.match(first) else "Question 1: "
    return [label + first.strip(), *others]
