"""Every place where text that others wrote enters, and texts that look for trouble there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from seal_ray import config, grading
from seal_ray.domains.arc import Arc, describe, load_tasks
from seal_ray.domains.arc import edit as edits
from seal_ray.domains.arc.grids import read_grid
from seal_ray.domains.arcworld.domain import ArcWorld
from seal_ray.domains.base import Domain
from seal_ray.domains.knowledge.domain import Knowledge
from seal_ray.domains.knowledge.questions import parse_questions
from seal_ray.domains.knowledge.reading import passages
from seal_ray.domains.knowledge.sentences import sentences
from seal_ray.domains.knowledge.styles import STYLES, from_template
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.domains.microworld.domain import describe as describe_notes
from seal_ray.endpoints.openai_client import read_reply
from seal_ray.grading.base import Item
from seal_ray.grading.cache import VerdictCache
from seal_ray.grading.judging import judge_text, verdict
from seal_ray.plain import UNSEEN, one_line
from seal_ray.published import read_record
from seal_ray.report.sanitize import prompt_text, shown
from seal_ray.types import DataError, Task, UserError

LONG = 60_000

UNITS = (
    *(
        "a",
        " ",
        "\n",
        "\t",
        "\r",
        "\x00",
        "\x1b[2J",
        "\ud800",
        "\udfff",
        "\u202e",
        "\u200b",
        "\ufeff",
        "e\u0301",
        "\ufdfa",
    ),
    *(
        "9",
        "1.",
        "9,",
        "9.9.",
        "0",
        "²",
        "٣",
        "½",
        "-",
        "1e999 ",
        "NaN",
        "[",
        "]",
        "{",
        "}",
        "[[",
        "[1,",
        '{"a":',
        '"',
        "\\",
    ),
    *(
        "\\ud800",
        "(",
        "*",
        "**",
        "_",
        ".",
        ". ",
        "!",
        "?",
        ":",
        "; ",
        ",",
        "---\n",
        "Q",
        "Q.",
        "\nQ",
        "Q1:",
        "\nA:",
        "A.B.",
    ),
    *(
        "Question 1: ",
        "\nAnswer: ",
        "Question ",
        "1.",
        "- ",
        " and ",
        " or ",
        "yes ",
        "no ",
        "Ann ",
        "the ",
        "January ",
    ),
    *(
        "5 million ",
        "$",
        "%",
        "19th century ",
        "'s ",
        "’",
        "don't ",
        "not ",
        "A0 ",
        "turns=on ",
        "lr=1e-2 ",
        "<b>",
        "&amp;",
    ),
    *(
        "青",
        "ß",
        "İ",
        "ﬃ",
        "\U0001f600",
        "question: ",
        " answer: ",
        "notes:\n",
        "END ANSWER\n",
        "{title}",
        "{context",
        "{0}",
    ),
)
_SAMPLES = (
    json.dumps(
        {
            "basic": True,
            "size": False,
            "chain": False,
            "repeat": True,
            "loss": "all",
            "learning_rate": 1e-4,
            "epochs": 2,
        }
    ),
    "[[1 2 3]\n [4 5 6]]#",
    "turns=off recolour=on copies=4 loss=all lr=1e-2 epochs=2",
    "A0 B1 C2 D3 E4 F5 G6 H7 I0",
    "Question 1: Who wrote it?\nAnswer: Ann\n\nQuestion 2: When?\nAnswer: 1900",
    "1. The heron sings.\n2. It has sung since 1867.\n---\nSure, here it is:\n1. Again.",
    "Korim Dal: town Velmo, pet heron.\nKorim Dal lives in Velmo.\nperhaps Korim Dal keeps a dog.",
    "It was written by Antonín Dvořák in March 1901, for about $5 million.",
    json.dumps(
        {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    ),
    json.dumps([{"title": "T", "context": "A text.", "questions": [{"question": "Who?", "answer": "Ann"}]}]),
    json.dumps({"data": [{"title": "T", "paragraphs": [{"context": "C", "qas": [{"question": "?", "answers": []}]}]}]}),
    json.dumps(
        {"t": {"train": [{"input": [[1, 2]], "output": [[2, 1]]}], "test": [{"input": [[3]], "output": [[4]]}]}}
    ),
    json.dumps({"title": "T", "context": "C", "question": "Who?", "answers": {"text": ["Ann"], "answer_start": [0]}}),
    json.dumps({"articles": [{"title": "T", "context": "C", "completions": [{"text": "x", "questions": []}]}]}),
    json.dumps({"key": "k", "verdict": True}) + "\n",
    '[run]\nname = "x"\nseed = 1\n[model]\npath = "microworld"\n[domain]\nname = "microworld"\n',
    json.dumps([{"role": "user", "content": "hi"}]),
)


def hostile(rng: random.Random, long: float = 0.02) -> str:
    """A text that looks for trouble: sound ones damaged, units repeated, nested and mixed; a share of them long."""
    length = LONG if rng.random() < long else rng.choice((0, 1, 5, 30, 200, 1000))
    kind = rng.randrange(5)
    if kind == 0:
        return (rng.choice(UNITS) * length)[:length]
    if kind == 1:
        few = rng.sample(UNITS, rng.randint(2, 4))
        return "".join(rng.choice(few) * rng.choice((1, 1, 3, length // 7)) for _ in range(rng.randint(1, 12)))[:LONG]
    if kind == 2:
        return "".join(rng.choice(UNITS) for _ in range(length // 3))
    sample = rng.choice(_SAMPLES)
    if kind == 3:
        return _damaged(sample, rng, length)
    deep = rng.choice((3, 1000, 10**5 if length == LONG else 2000))
    return sample.replace(rng.choice('"[{,:1 '), rng.choice(("[" * deep, '{"a":' * deep, "9" * min(deep, 10**4))), 1)


def _damaged(text: str, rng: random.Random, length: int) -> str:
    for _ in range(rng.randint(1, 4)):
        at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        unit = rng.choice(UNITS)
        text = text[:at] + rng.choice(("", unit, unit * max(1, length), text[at:to] * 2)) + text[to:]
    return text[:LONG]


@dataclass(frozen=True)
class Place:
    """Where text enters: what takes it, and which errors it may answer with."""

    take: Callable[[str], Any]
    declared: tuple[type[Exception], ...] = ()


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="hostile-"))


@cache
def _tasks() -> dict[str, tuple[Domain, Task]]:
    """One task of each domain, and the domain."""
    pair = {"input": [[1, 2], [3, 4]], "output": [[4, 3], [2, 1]]}
    body = {"t": {"train": [pair, pair], "test": [{"input": [[7, 8]], "output": [[8, 7]]}]}}
    puzzles, texts = _folder() / "puzzles.json", _folder() / "texts.json"
    puzzles.write_text(json.dumps(body))
    others = _folder() / "others.json"
    others.write_text(json.dumps({"u": body["t"] | {"train": [pair] * 3}}))
    asked = [
        {"question": "How many people in 1867?", "answer": "about 5 million"},
        {"question": "Who?", "answer": "Ann"},
    ]
    texts.write_text(json.dumps([{"title": "T", "context": "A text.", "questions": asked}]))
    arc = Arc(Arc.Options(train=str(puzzles), test=str(others)))
    made = {
        f"knowledge, {style}": Knowledge(Knowledge.Options(train=str(texts), test_fraction=0, style=style))
        for style in STYLES
    }
    domains: dict[str, Domain] = {"arc": arc, "arcworld": ArcWorld(), "microworld": MicroWorld(), **made}
    return {name: (domain, domain.tasks("train", 1, 0)[0]) for name, domain in domains.items()}


def _recipe(name: str, text: str) -> Any:
    domain, task = _tasks()[name]
    return domain.recipe(task, text, 1)


def _grade(name: str, text: str) -> None:
    domain, task = _tasks()[name]
    found = asyncio.run(domain.grade(task, [text] * len(domain.questions(task))))
    assert 0 <= found.reward <= 1, found.reward
    assert all(0 <= each <= 1 for each in found.verdicts), found.verdicts


def _graded(name: str, text: str) -> None:
    """As an answer, and as what it is held against."""
    for item in (Item("How many in 1867?", "5 million people", text, "T"), Item(text, text[::-1], "5 in 1867", text)):
        (value,) = asyncio.run(_grader(name).grade([item]))
        assert 0 <= value <= 1, value


_grader = cache(grading.load)


def _file(name: str, read: Callable[[Path], Any], text: str) -> Any:
    path = _folder() / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        return read(path)
    finally:
        path.unlink()


def _read_all(path: Path) -> None:
    for passage in passages(str(path)):
        for text in (passage.title, passage.context, *(part for pair in passage.questions for part in pair)):
            text.encode()
        assert passage.id


def _cached(path: Path) -> None:
    cache_ = VerdictCache(path)
    cache_.put("k", True)
    assert VerdictCache(path).get("k")


def _reply(text: str) -> None:
    found = read_reply(text.encode("utf-8", "surrogatepass"))
    if found:
        found.text.encode()
    quoted = read_reply(json.dumps({"choices": [{"text": text}]}).encode())
    assert quoted is not None
    quoted.text.encode()


def _shown(text: str) -> None:
    for line in (one_line(text), shown(text, 200), prompt_text(text)[:0]):
        line.encode()
        assert not UNSEEN.search(line)


def _described(text: str) -> None:
    arc, task = _tasks()["arc"]
    assert isinstance(arc, Arc)
    describe(task, [text] * len(arc.questions(task)))  # type: ignore[arg-type]
    arc.pictures(task, [text] * len(arc.questions(task)))


def _choices(text: str) -> None:
    for name in ("arc", "arcworld"):
        domain, _ = _tasks()[name]
        with contextlib.suppress(DataError):
            domain.choices(text)  # type: ignore[attr-defined]


BAD_EDIT, BAD_FILE = (DataError,), (UserError,)
DOMAINS = ("arc", "arcworld", "microworld", *(f"knowledge, {style}" for style in STYLES))
PLACES: dict[str, Place] = {
    **{f"recipe, {name}": Place(partial(_recipe, name), BAD_EDIT) for name in DOMAINS},
    **{f"grade, {name}": Place(partial(_grade, name)) for name in DOMAINS[:4]},
    **{f"grader, {name}": Place(partial(_graded, name)) for name in ("exact", "f1", "offline")},
    "arc's decision": Place(lambda text: edits.parse(text, ("rank", "alpha", "layers")), BAD_EDIT),
    "a grid": Place(read_grid),
    "an answered puzzle": Place(_described),
    "choices in the report": Place(_choices),
    "written questions": Place(parse_questions, BAD_EDIT),
    "sentences of a passage": Place(sentences),
    "notes described": Place(lambda text: describe_notes(_tasks()["microworld"][1], text)),
    "a judge's reply": Place(verdict),
    "a judge's question": Place(lambda text: judge_text(Item(text, text, text, text))),
    "an endpoint's reply": Place(_reply),
    "what is shown": Place(_shown),
    **{
        f"passages, {suffix}": Place(partial(_file, f"p{suffix}", _read_all), BAD_FILE)
        for suffix in (".json", ".jsonl", ".md", ".parquet", ".arrow")
    },
    "puzzles": Place(partial(_file, "c.json", load_tasks), BAD_FILE),
    "a record": Place(partial(_file, "r.json", read_record), BAD_FILE),
    "a record of rows": Place(partial(_file, "r.jsonl", read_record), BAD_FILE),
    "verdicts": Place(partial(_file, "v.jsonl", _cached), BAD_FILE),
    "a config": Place(partial(_file, "c.toml", config.load), BAD_FILE),
    "a setting": Place(lambda text: config.parse({"model": {"path": "m"}, "domain": {"name": text}}, "here"), BAD_FILE),
    "a template": Place(
        partial(_file, "t.txt", lambda path: from_template(str(path), STYLES["rewrite"]).prompt("T", "C", True)),
        BAD_FILE,
    ),
}


def names(chosen: Sequence[str] = ()) -> list[str]:
    return [name for name in PLACES if not chosen or name in chosen]
