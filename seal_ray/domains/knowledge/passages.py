"""A passage with its questions, as it comes out of a file of any form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import Any

from seal_ray.plain import kept
from seal_ray.types import UserError, content_key


@dataclass(frozen=True)
class Passage:
    title: str
    context: str
    questions: tuple[tuple[str, str], ...] = ()
    """(question, gold answer); empty for plain text, whose questions are yet to be written."""

    @property
    def key(self) -> str:
        """Equal for the same text, wherever it stands and whatever its questions are."""
        return content_key("passage", " ".join(self.context.split()))

    @property
    def id(self) -> str:
        """Readable, and different for passages that share a title."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")[:40]
        return f"{slug or 'passage'}-{content_key(self.title, self.context, self.questions)[:10]}"


def from_rows(rows: Iterable[tuple[str, Any]]) -> Iterator[Passage]:
    """Passages from (where, row) pairs in any mixture of the known forms.

    A row is a whole passage (`title`, `context`, `questions`), an article as SQuAD publishes it (`title`,
    `paragraphs`), or a single question on a passage (`context`, `question`, `answers`); neighbouring rows of the
    last form that share a context become one passage. An answer that is a list counts as its first entry.
    """
    for single, group in groupby(rows, key=lambda row: _question_of(*row)):
        if single is None:
            for where, row in group:
                yield from _whole(where, row)
        else:
            yield from _joined(list(group))


def _question_of(where: str, row: Any) -> tuple[str, str] | None:
    """Title and context, by which rows of one question each are joined; None for a row of another form."""
    if not isinstance(row, Mapping):
        raise UserError(f"{where}: expected an object with title, context and questions, found {type(row).__name__}")
    if "question" in row and "questions" not in row:
        return _title(row), _context(where, row)
    return None


def _joined(rows: list[tuple[str, Any]]) -> Iterator[Passage]:
    where, first = rows[0]
    pairs = [_pair(place, row) for place, row in rows]
    if answered := tuple(filter(None, pairs)):
        yield Passage(_title(first), _context(where, first), answered)


def _whole(where: str, row: Mapping[str, Any]) -> Iterator[Passage]:
    if "paragraphs" in row:
        if not isinstance(row["paragraphs"], list | tuple):
            raise UserError(f'{where}: "paragraphs" is {type(row["paragraphs"]).__name__}, expected a list')
        for number, paragraph in enumerate(row["paragraphs"], start=1):
            place = f"{where}, paragraph {number}"
            if not isinstance(paragraph, Mapping):
                raise UserError(f"{place}: expected an object with a context, found {type(paragraph).__name__}")
            yield from _asked(place, {"title": row.get("title", ""), **paragraph}, paragraph.get("qas"))
    else:
        yield from _asked(where, row, row.get("questions", row.get("qas")))


def _asked(where: str, row: Mapping[str, Any], questions: Any) -> Iterator[Passage]:
    context = _context(where, row)
    if questions is None:
        yield Passage(_title(row), context)
        return
    if isinstance(questions, Mapping):  # a column of structs that was stored as a struct of columns
        columns = list(questions.values())
        if not all(isinstance(column, list | tuple) for column in columns) or len({len(c) for c in columns}) > 1:
            raise UserError(f'{where}: "questions" holds columns of unlike length; give a list of questions')
        questions = [dict(zip(questions, values, strict=True)) for values in zip(*columns, strict=True)]
    if not isinstance(questions, list | tuple):
        raise UserError(f'{where}: "questions" is {type(questions).__name__}, expected a list')
    if not questions:
        raise UserError(f'{where}: "questions" is empty; give at least one, or leave the key out to have them written')
    pairs = [_pair(f"{where}, question {number}", row) for number, row in enumerate(questions, start=1)]
    if answered := tuple(filter(None, pairs)):
        yield Passage(_title(row), context, answered)


def _pair(where: str, row: Any) -> tuple[str, str] | None:
    """A question and its gold answer, or None for one that is marked as having no answer."""
    if not isinstance(row, Mapping) or not isinstance(row.get("question"), str) or not row["question"].strip():
        raise UserError(f'{where}: no "question" text; give each question as {{"question": …, "answer": …}}')
    answers = row.get("answer", row.get("answers"))
    if isinstance(answers, Mapping):  # SQuAD on the hub: {"text": [...], "answer_start": [...]}
        answers = answers.get("text")
    if answers is not None and not isinstance(answers, list | tuple):
        answers = [answers]
    texts = [_answer_text(where, answer) for answer in (answers if answers is not None else [])]
    if not texts and (row.get("is_impossible") or (answers is not None and "answers" in row)):
        return None
    gold = next((text.strip() for text in texts if text.strip()), "")
    if not gold:
        raise UserError(f'{where}: the answer is empty; give the text that counts as right as "answer"')
    return kept(row["question"].strip()), kept(gold)


def _answer_text(where: str, answer: Any) -> str:
    text = answer.get("text", "") if isinstance(answer, Mapping) else answer
    if isinstance(text, str):
        return text
    if isinstance(text, int | float) and not isinstance(text, bool) and isfinite(text):
        return str(text)
    found = text if isinstance(text, float) else type(text).__name__  # NaN is how tables write that there is none
    raise UserError(f"{where}: an answer is {found}, expected text or a list of texts")


def _title(row: Mapping[str, Any]) -> str:
    return kept(str(row.get("title") or "").replace("_", " ").strip())


def _context(where: str, row: Mapping[str, Any]) -> str:
    context = row.get("context")
    if not isinstance(context, str):
        raise UserError(f'{where}: no "context"; every passage needs its text there')
    if not context.strip():
        raise UserError(f'{where}: "context" is empty; give the passage, or remove the entry')
    return kept(context)
