"""How a library finds the lesson that a question is about: by words, by likelihood, and by an encoder, held together.

    python -m benchmarks finding runs/streams-1 --encoder FOLDER

Questions and lessons are those of a recorded run. By words is what the way `library` does. By likelihood each question
is read under every lesson's adapter, and belongs to the one that finds it likeliest, or to the base where that finds it
likelier still; as lessons make all texts unlikelier, and some more than others, also by how much likelier than other
questions. That takes as many readings as there are lessons. An encoder is any that Transformers loads: what it makes of
a text is the mean of its last states, and a question belongs to the passage at the smallest angle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from seal_ray.adapters.lora import Adapter
from seal_ray.config import Config
from seal_ray.continual.library import nearest, read_of
from seal_ray.domains.base import Domain, KnownBefore
from seal_ray.domains.drawing import held_out_tasks
from seal_ray.domains.registry import load_domain
from seal_ray.loop.continual import asked_of
from seal_ray.loop.retract import in_this_process
from seal_ray.policy import adapters
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import recorded_config
from seal_ray.types import BASE, AdapterRef, Example, Task, Trial, UserError, last_turn
from seal_ray.workers.base import open_cluster

LIBRARY = "library"
WORDS, LIKELIHOOD, OVER_MEAN, ENCODER = "words", "likelihood", "likelihood over the lesson's mean", "encoder"
_AT_ONCE = 8
"""Lessons that are held in memory."""
_LONGEST, _BATCH = 256, 32
"""Tokens of a text that an encoder reads, and texts that it reads at a time."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """One way to find lessons, among so many of them."""

    by: str
    lessons: int
    questions: int
    own: float
    """The share of questions that found their own passage's lesson."""
    elsewhere: float | None
    """The share of questions of other things that found none; None where one is always found, as by the encoder."""
    seconds: float
    """Of all readings, over all lessons of the order; by words, over these."""


@dataclass(frozen=True)
class _Asked:
    """What is looked for, and among what."""

    passages: Sequence[str]
    questions: Sequence[str]
    owners: Sequence[int]
    """The place of each question's passage, in rising order."""
    elsewhere: Sequence[str]
    """Questions of what no passage is about."""

    def first(self, count: int) -> _Asked:
        """Of the first passages alone, whose questions come first."""
        owners = [owner for owner in self.owners if owner < count]
        return _Asked(self.passages[:count], self.questions[: len(owners)], owners, self.elsewhere)


def measure(directory: str, counts: Sequence[int] = (), sequence: int = 0, encoder: str = "") -> list[Found]:
    """Find every question's lesson among the first so many of an order, and among all where no count is given."""
    config, store = recorded_config(directory), Store(directory)
    domain = load_domain(config)
    lessons, tasks = _lessons(config, domain, store, sequence)
    asked = _asked(domain, tasks)
    begun = time.monotonic()
    likely = asyncio.run(_likelihoods(config, domain, tasks[0], store, lessons, [*asked.questions, *asked.elsewhere]))
    read = time.monotonic() - begun
    close, encoded = None, 0.0
    if encoder:
        begun = time.monotonic()
        close = _closeness(asked, encoder)
        encoded = time.monotonic() - begun
    found = []
    for count in counts or [len(lessons)]:
        some = asked.first(count)
        found += [_by_words(some), *_by_likelihood(some, likely, len(asked.questions), read)]
        found += [_found(ENCODER, some, close, None, encoded)] if close is not None else []
    return found


def _lessons(config: Config, domain: Domain, store: Store, sequence: int) -> tuple[list[AdapterRef], list[Task]]:
    """The lessons of an order in their order, and the passages that they are of."""
    rows = [row for row in Journal(store).read(LearntRow) if (row.way, row.sequence) == (LIBRARY, sequence)]
    rows = sorted((row for row in rows if row.learned), key=lambda row: row.step)
    if not rows or config.run.rounds:
        raise UserError(f"{store.url}: give a run without rounds that learnt passages in turn by {LIBRARY!r}")
    tasks = {task.id: task for task in held_out_tasks(config, domain)}
    return [AdapterRef(row.learned) for row in rows], [tasks[row.task_id] for row in rows]


def _asked(domain: Domain, tasks: Sequence[Task]) -> _Asked:
    known = domain.known_before() if isinstance(domain, KnownBefore) else ()
    pairs = asked_of(tasks)
    return _Asked(
        [*map(read_of, tasks)],
        [question for _, question in pairs],
        [owner for owner, _ in pairs],
        [last_turn(each.prompt) for task in known for each in task.questions],
    )


async def _likelihoods(
    config: Config, domain: Domain, first: Task, store: Store, lessons: Sequence[AdapterRef], texts: Sequence[str]
) -> Array:
    """The log-likelihood of every text (rows) under every lesson, and under the base last (columns), a mean a token."""
    examples, columns = [Example(text, whole=False) for text in texts], list[Sequence[float]]()
    async with open_cluster(in_this_process(config), lambda span: None) as cluster:
        for at in range(0, len(lessons) + 1, _AT_ONCE):
            refs = [*lessons, BASE][at : at + _AT_ONCE]
            held: dict[AdapterRef, Adapter] = {ref: adapters.get(store, ref) for ref in refs if ref.key}
            await cluster.hold(held, domain.prompt(first), unwritten=held.keys())
            for ref in refs:
                outcome = await cluster.run_trial(Trial.reading("finding", ref, examples))
                if outcome.failure:
                    raise UserError(f"{store.url}: {outcome.failure.reason}")
                columns.append(outcome.log_likelihoods)
    return np.array(columns, dtype=np.float64).T


def _by_words(asked: _Asked) -> Found:
    begun = time.monotonic()
    own = [found == owner for found, owner in zip(nearest(asked.questions, asked.passages), asked.owners, strict=True)]
    none = [found is None for found in nearest(asked.elsewhere, asked.passages)]
    seconds = time.monotonic() - begun
    return Found(WORDS, len(asked.passages), len(own), fmean(own), fmean(none) if none else None, seconds)


def _by_likelihood(asked: _Asked, likely: Array, questions: int, seconds: float) -> list[Found]:
    """As it is, and by how much likelier a question is than others; after so many `questions` come others' rows."""
    lessons, base = likely[:, : len(asked.passages)], likely[:, -1]
    elsewhere = float(np.mean(lessons[questions:].max(axis=1) < base[questions:])) if asked.elsewhere else None
    return [
        _found(LIKELIHOOD, asked, lessons, elsewhere, seconds),
        _found(OVER_MEAN, asked, lessons - lessons.mean(axis=0), None, seconds),
    ]


def _found(by: str, asked: _Asked, close: Array, elsewhere: float | None, seconds: float) -> Found:
    """By how close every question (rows, these first) is to every passage (columns, these first)."""
    count, owners = len(asked.passages), np.array(asked.owners)
    own = float(np.mean(close[: len(owners), :count].argmax(axis=1) == owners))
    return Found(by, count, len(owners), own, elsewhere, seconds)


def _closeness(asked: _Asked, folder: str) -> Array:
    """The cosine of every question (rows) and passage (columns), as an encoder reads them."""
    embedded = _embedded([*asked.questions, *asked.passages], folder)
    return embedded[: len(asked.questions)] @ embedded[len(asked.questions) :].T


def _embedded(texts: Sequence[str], folder: str) -> Array:
    """The mean of the last states of each text's tokens, brought to length one."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = []
    with torch.inference_mode():
        for at in range(0, len(texts), _BATCH):
            some = list(texts[at : at + _BATCH])
            given = tokenizer(some, padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt")
            states, there = model(**given).last_hidden_state, given["attention_mask"][..., None]
            found.append(torch.nn.functional.normalize((states * there).sum(1) / there.sum(1), dim=-1))
    return torch.cat(found).double().numpy()


def table(found: Sequence[Found]) -> str:
    """Markdown: a row for each way and number of lessons."""
    lines = ["| found by | lessons | questions | their own | of other things: none | seconds |"]
    lines += ["|---|---|---|---|---|---|"]
    for each in found:
        none = f"{each.elsewhere:.1%}" if each.elsewhere is not None else "–"
        row = (each.by, each.lessons, each.questions, f"{each.own:.1%}", none, f"{each.seconds:.1f}")
        lines.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(lines)
