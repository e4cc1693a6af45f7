"""What `seal-ray learn` makes of documents that nobody has read: ten facts of each, asked in other words.

python -m benchmarks learn --model HuggingFaceTB/SmolLM2-135M-Instruct

Each document of `benchmarks/documents/` is of invented facts and has a file of questions beside it. `ferry`, `orchard`
and `observatory` were looked at while the lessons and settings of `learn` were chosen; of `library`, `saltworks` and
`tramway` nothing was. An answer is right if the words of the fact are in it.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seal_ray.events import Observer
from seal_ray.grading.text import normalized
from seal_ray.learning.learn import learn
from seal_ray.record.account import Account, Elsewhere, known_here
from seal_ray.serving.answering import Answerer
from seal_ray.types import Message, UserError

DOCUMENTS = Path(__file__).parent / "documents"
_ANSWER_TOKENS = 48


@dataclass(frozen=True)
class Learnt:
    """Of one document: right answers of how many, by whom, and the seconds that it took to learn and to be asked."""

    document: str
    asked: int
    base: int
    reading: int
    """By the base, with the whole document in its prompt."""
    learnt: int
    elsewhere: tuple[Elsewhere, Elsewhere]
    """Questions of general knowledge and general sentences, before and after."""
    seconds: float
    answer_seconds: float


def measure(
    names: Sequence[str],
    model: str,
    into: str,
    settings: Sequence[str],
    *observers: Observer,
    method: str = "",
    texts: int = 0,
) -> list[Learnt]:
    """Learn each of these documents, all where none is named; what was learnt before is only asked."""
    known = sorted(file.stem for file in DOCUMENTS.glob("*.md"))
    if unknown := sorted(set(names) - set(known)):
        raise UserError(f"{', '.join(unknown)}: no such document; there are {', '.join(known)}")
    found = []
    for name in names or known:
        begun, place = time.monotonic(), str(Path(into) / name)
        file = DOCUMENTS / f"{name}.md"
        answerer = learn([file], model, place, *observers, settings=settings, method=method, texts=texts)
        found.append(_asked(name, answerer, known_here(place), time.monotonic() - begun))
    return found


def _asked(name: str, answerer: Answerer, known: Account, seconds: float) -> Learnt:
    file, facts = DOCUMENTS / f"{name}.md", questions(name)
    text, begun = file.read_text(encoding="utf-8"), time.monotonic()
    learnt = sum(_says(answerer, asked, gold) for asked, gold in facts)
    asking = (time.monotonic() - begun) / len(facts)
    base = sum(_says(answerer, asked, gold, learnt=False) for asked, gold in facts)
    reading = sum(_says(answerer, f"{text}\n\n{asked}", gold, learnt=False) for asked, gold in facts)
    elsewhere = Elsewhere(**known.before), Elsewhere(**known.after)
    return Learnt(name, len(facts), base, reading, learnt, elsewhere, seconds, asking)


def questions(name: str) -> list[tuple[str, str]]:
    """What is asked about a document, and the words of the answer; others that will do come after a bar."""
    read = tomllib.loads((DOCUMENTS / f"{name}.toml").read_text(encoding="utf-8"))
    return [(asked, gold) for asked, gold in read["questions"]]


def _says(answerer: Answerer, asked: str, gold: str, learnt: bool = True) -> bool:
    answer = answerer.answer((Message("user", asked),), _ANSWER_TOKENS, learnt=learnt).text
    return right(answer, gold)


def right(answer: str, gold: str) -> bool:
    """Whether the words of the fact are in an answer."""
    said = f" {normalized(answer)} "
    return any(f" {normalized(words)} " in said for words in gold.split("|"))


def table(found: Sequence[Learnt]) -> str:
    lines = [
        f"{'document':12} {'base':>7} {'reading':>8} {'learnt':>7} {'elsewhere':>13} {'nats a token':>13} "
        f"{'to learn':>9} {'an answer':>10}"
    ]
    for each in found:
        shares = [f"{count}/{each.asked}" for count in (each.base, each.reading, each.learnt)]
        before, after = each.elsewhere
        known, loss = f"{before.right}, {after.right}/{after.asked}", f"{before.loss:.2f}, {after.loss:.2f}"
        lines.append(
            f"{each.document:12} {shares[0]:>7} {shares[1]:>8} {shares[2]:>7} {known:>13} {loss:>13} "
            f"{each.seconds / 60:>5.1f} min {each.answer_seconds:>8.1f} s"
        )
    return "\n".join(lines)
