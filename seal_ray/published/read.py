"""Readers of the published result files, whichever of their forms a path holds.

Ranked or evaluated rounds (`articles` with verdicts), sampled completions (a list of passages with
`completions`), and kept self-edits (JSONL rows of `prompt` and `completion`) all become one `Record`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seal_ray.plain import decoded, kept, one_line
from seal_ray.types import UserError


@dataclass(frozen=True)
class Verdict:
    """One question of one trial, as it was answered and judged without and with the adapter."""

    rep: int
    """Which of the self-edit's trials; trials differ by their seed."""
    question: str
    gold: str
    baseline_answer: str
    adapter_answer: str
    baseline_correct: bool
    adapter_correct: bool


@dataclass(frozen=True)
class Completion:
    text: str
    verdicts: tuple[Verdict, ...] = ()
    stats: Mapping[str, float] = field(default_factory=dict)
    """The statistics as recorded; `stats.completion_stats` computes them again."""


@dataclass(frozen=True)
class Passage:
    title: str
    context: str
    prompt: str
    completions: tuple[Completion, ...]
    questions: tuple[tuple[str, str], ...] = ()
    """(question, gold answer), in order."""
    stats: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    passages: tuple[Passage, ...]
    overall: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Everything else the file says of itself: adapter settings, seeds, source."""

    @property
    def ranked(self) -> bool:
        """Whether the record holds verdicts, so that rewards and a choice follow from it."""
        return any(completion.verdicts for passage in self.passages for completion in passage.completions)


def read_record(path: str | Path) -> Record:
    """Read any of the published forms; `UserError` when the file is none of them."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such record") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    try:
        if path.suffix == ".jsonl":
            data = [decoded(line) for line in text.split("\n") if line.strip()]
        else:
            data = decoded(text)
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {one_line(str(error))}") from None
    try:
        if path.suffix == ".jsonl":
            return _kept(data)
        return _round(data) if isinstance(data, dict) else _sampled(data)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        problem = one_line(f"{type(error).__name__}: {error}")
        expected = "a ranked round, sampled completions, or rows of prompt and completion"
        raise UserError(f"{path}: not a recorded round ({problem}); expected {expected}") from None


def _round(data: Mapping[str, Any]) -> Record:
    settings = {key: value for key, value in data.items() if key not in ("articles", "overall")}
    return Record(tuple(_passage(article) for article in data["articles"]), data.get("overall", {}), settings)


def _passage(article: Mapping[str, Any]) -> Passage:
    completions = tuple(
        Completion(
            _text(entry["text"]), tuple(_verdict(row) for row in entry.get("questions", ())), entry.get("stats", {})
        )
        for entry in article["completions"]
    )
    asked = {(row.question, row.gold): None for completion in completions for row in completion.verdicts}
    title, context, prompt = _text(article["title"]), _text(article["context"]), _text(article.get("prompt", ""))
    return Passage(title, context, prompt, completions, tuple(asked), article.get("stats", {}))


def _verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(
        rep=int(row.get("rep", 0)),
        question=_text(row["question"]),
        gold=_text(row["answer"]),
        baseline_answer=_text(row["baseline_answer"]),
        adapter_answer=_text(row["adapter_answer"]),
        baseline_correct=bool(row["baseline_correct"]),
        adapter_correct=bool(row["adapter_correct"]),
    )


def _sampled(entries: list[Mapping[str, Any]]) -> Record:
    return Record(tuple(_sampled_passage(entry) for entry in entries))


def _sampled_passage(entry: Mapping[str, Any]) -> Passage:
    questions = tuple((_text(row["question"]), _text(row["answer"])) for row in entry["questions"])
    completions = tuple(Completion(_text(text)) for text in entry["completions"])
    title, context, prompt = (_text(entry.get(name, "")) for name in ("title", "context", "prompt"))
    return Passage(title, context, prompt, completions, questions)


def _kept(rows: list[Mapping[str, Any]]) -> Record:
    return Record(tuple(Passage("", "", _text(row["prompt"]), (Completion(_text(row["completion"])),)) for row in rows))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text should be")
    return kept(value)
