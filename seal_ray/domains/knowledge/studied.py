"""Documents that are to be known: the knowledge domain as `seal-ray learn` uses it.

What is trained on is a passage, its sentences as answers to some of their own words, and what its self-edits make of
it: questions with their answers are taught as turns of a chat, as they will be asked. Of the questions about a passage
some choose among its self-edits and are trained on, and some are only reported: nothing that asks the same is ever
trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from seal_ray.domains.base import Baseline
from seal_ray.domains.knowledge.domain import SYNTHETIC, Knowledge, KnowledgeTask
from seal_ray.domains.knowledge.questions import NEXT, alike, parse_questions, shown_prompt
from seal_ray.domains.knowledge.recall import cues
from seal_ray.domains.knowledge.sentences import sentences
from seal_ray.sources import WrittenPath
from seal_ray.types import Bounds, DataError, Example, Message, Prompt, Recipe, Task

CUED = "Question: {question}\nAnswer:"
"""How a question is put to a base, which goes on with the answer."""
IN_SIGHT = "in-context"
ALONE = "passage only"
_TRIED = 3
"""Times that a trial teaches each sentence: enough to tell a self-edit that helps from one that does not."""
_MOST_PAIRS = 100
"""Of the questions with answers in one self-edit."""

Pair = tuple[str, str]
"""A question and its gold answer."""


def as_asked(question: str, chat: bool) -> Prompt:
    """A question by itself, as a turn of a chat or for a base."""
    return (Message("user", question),) if chat else CUED.replace("{question}", question)


@dataclass(frozen=True)
class StudiedTask(KnowledgeTask):
    """A passage; its questions are those that choose, or once `reported` was asked for, those that are reported."""

    choosing: tuple[Pair, ...] = ()
    held: tuple[Pair, ...] = ()
    """Questions that are only reported."""


class Studied(Knowledge):
    @dataclass(frozen=True, kw_only=True)
    class Options(Knowledge.Options):
        train: WrittenPath
        """The passages as a file of the run's own. A new version of the documents is the same run: what is on record
        of a passage is called by its text."""
        times: Annotated[int, Bounds(ge=3, le=1000)] = 11
        """How often each sentence is taught, every time as the answer to other words of it."""
        test_fraction: Annotated[float, Bounds(ge=0, le=1)] = 0.0
        shuffle: bool = False
        style: Literal["implications", "implications-long", "implications-very-long", "rewrite", "self-qa"] = "self-qa"

    options: Options
    name = "documents"
    sample_stop: tuple[str, ...] = (NEXT,)
    plain, cued = "{question}", CUED  # as someone asks, who names no topic

    def prompt(self, task: Task) -> Prompt:
        """Questions and answers are asked for as those that choose are, by examples."""
        plain = self.style.name == "self-qa" and not (self.style.template or self.style.hint)
        return shown_prompt(task.title, task.context) if plain else super().prompt(task)

    def asked(self, task: Task, choosing: Sequence[Pair], held: Sequence[Pair]) -> StudiedTask:
        """The task with questions that a model wrote: those that choose and are learnt from, and those reported."""
        known = self._with_questions(KnowledgeTask(task.id, task.title, task.context, ()), choosing)
        more: dict[str, Any] = {**vars(known), "family": SYNTHETIC}
        return StudiedTask(**more, choosing=tuple(choosing), held=tuple(held))

    def single(self, task: Task, pair: Pair) -> KnowledgeTask:
        """The task with this one question."""
        return self._with_questions(KnowledgeTask(task.id, task.title, task.context, ()), [pair])

    def reported(self, task: StudiedTask) -> KnowledgeTask:
        """The task with the questions that are only reported."""
        return self._with_questions(task, task.held)

    def questions(self, task: Task) -> tuple[Prompt, ...]:
        """A passage that got no good question has none."""
        return tuple(question.prompt for question in task.questions)

    def pieces(self, task: Task, completion: str) -> tuple[Example, ...]:
        """Questions with answers as turns of a chat, as they will be asked."""
        return tuple(self._examples(task, completion))

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        return self._taught([(task, [completion])], _TRIED)

    def corpus(self, edits: Iterable[tuple[Task, Sequence[str]]]) -> Recipe:
        """All passages, each with its self-edits and with the questions that chose them."""
        return self._taught(edits, self.options.times, with_questions=True)

    def baseline(self, name: str, task: Task, seed: int) -> Baseline | None:
        if name == ALONE:
            return Baseline(self._taught([(task, [])], _TRIED), self.questions(task))
        return super().baseline(name, task, seed)

    def _taught(self, edits: Iterable[tuple[Task, Sequence[str]]], times: int, with_questions: bool = False) -> Recipe:
        """Each sentence so many times, and a third as often the passage as it stands and what is beside it."""
        examples: list[Example] = []
        for task, completions in edits:
            beside = [*self.text(task)]
            for completion in completions:
                beside += self._examples(task, completion)
            if with_questions and isinstance(task, StudiedTask):
                beside += self._pairs(task, task.choosing)
            for said in sentences(task.context):
                examples += (Example(said, as_asked(cue, self.chat)) for cue in cues(task.title, said, times))
            examples += list(dict.fromkeys(beside)) * (times // 3)
        return self.train_on(examples)

    def _examples(self, task: Task, completion: str) -> list[Example]:
        """What a self-edit teaches beside the passage."""
        if not self.style.pairs:
            return [Example(text) for text in self._pieces(task, completion)]
        try:
            pairs = parse_questions(completion, _MOST_PAIRS)
        except DataError as error:
            raise DataError(f"{task.id}: {error}") from None
        if not (examples := self._pairs(task, pairs)):
            raise DataError(f"{task.id}: every question of the self-edit is one that is only reported")
        return examples

    def _pairs(self, task: Task, pairs: Iterable[Pair]) -> list[Example]:
        held = [question for question, _ in task.held] if isinstance(task, StudiedTask) else []
        return [
            replace(self._statement(self._question(task.title, question), answer), whole=True)
            for question, answer in pairs
            if not any(alike(question, other) for other in held)
        ]
