"""Passages with closed-book questions: the paper's first domain, on SQuAD or on files of your own.

A trial trains on the pieces of a self-edit and on the passage itself, then answers questions with the passage
out of sight.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Annotated, Any, Literal

from seal_ray import grading
from seal_ray.domains.base import Baseline, Split
from seal_ray.domains.knowledge.advice import comparing
from seal_ray.domains.knowledge.common import COMMON, PRACTISED, SENTENCES
from seal_ray.domains.knowledge.passages import Passage
from seal_ray.domains.knowledge.questions import parse_questions, question_prompt, stands_in, worth_asking
from seal_ray.domains.knowledge.reading import passages
from seal_ray.domains.knowledge.styles import METHOD_STYLES, STRATEGIES, STYLES, Style, from_template, templates
from seal_ray.domains.knowledge.texts import pieces_of
from seal_ray.grading import Grader, Item, judged
from seal_ray.model.template import ByTemplate
from seal_ray.published import read_record
from seal_ray.sources import PassagePath, SourcePath
from seal_ray.types import (
    Bounds,
    DataError,
    Example,
    Grade,
    LoraSpec,
    Message,
    OptimSpec,
    Prompt,
    Question,
    Recipe,
    Task,
    UserError,
    derive_seed,
    last_turn,
)

logger = logging.getLogger(__name__)

SYNTHETIC = "synthetic questions"
"""Family of tasks whose questions a model wrote; shown in every table."""
MAX_COMPLETION = 50_000
"""Characters. The longest completion a policy is let write (8,192 tokens) stays well below; longer ones ran wild."""
MAX_LINES = 2_000
"""Each may become a text to train on, epoch after epoch; the longest completion has several tokens a line."""
ANOTHER_MODEL = "self-edits by another model"
PLAIN = "Topic: {title}\n{question}"
"""How a question is put to a model that chats, and as the paper's jobs put it to one that does not."""
CUED = "Topic: {title}\nQuestion: {question}\nAnswer:"
"""How it is put to a base, which goes on with the answer and not with the question."""


@dataclass(frozen=True)
class KnowledgeTask(Task):
    asked: tuple[str, ...] = ()
    """The questions alone, as a grader sees them."""

    def part(self, numbers: Sequence[int]) -> KnowledgeTask:
        return replace(super().part(numbers), asked=tuple(self.asked[number] for number in numbers))


class Knowledge:
    """Tasks from one source split in two, or from a source for each split."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
        train: PassagePath
        """A file, a folder, or `hf:NAME#SPLIT`."""
        test: PassagePath = ""
        """A file, a folder or `hf:NAME#SPLIT` of held-out passages; without it, part of `train` is held out."""
        test_fraction: Annotated[float, Bounds(ge=0, le=1)] = 0.2
        split_seed: int = 0
        """Decides which passages are held out, whatever the run's seed."""
        shuffle: bool = True
        """Draw tasks at random; otherwise they come in the order of the source."""
        style: Literal["implications", "implications-long", "implications-very-long", "rewrite", "self-qa"] = (
            "implications"
        )
        template: SourcePath = ""
        """A file with a prompt of your own, with `{title}` and `{context}`; `style` still says how it is cut."""
        templates: SourcePath = ""
        """A folder of such files, `NAME.txt`: strategies of your own by NAME, for `sampling.strategies`."""
        question: Annotated[str, Bounds(pattern=r"^$|\{question\}")] = ""
        """How a question is put, closed book, with `{question}` and `{title}`. Empty: as the model takes it; one that
        does not chat gets a cue to answer after, and its answer ends with the line."""
        split_newlines: bool = True
        """Every line of a self-edit is a training text of its own."""
        chat: ByTemplate = "auto"
        """Prompts are turns, rendered with the model's own chat template; `auto`: if it is an instruct model."""
        other_edits: SourcePath = ""
        """Recorded self-edits of another model on the held-out passages, for the baseline of that name."""

    name = "knowledge"
    schema: dict[str, Any] | None = None
    sample_stop: tuple[str, ...] = ()
    plain, cued = PLAIN, CUED
    """How questions are put where the options do not say it."""

    def __init__(
        self,
        options: Options,
        lora: LoraSpec | None = None,
        optim: OptimSpec | None = None,
        grader: Grader | None = None,
    ) -> None:
        self.options = options
        self.chat = options.chat is True  # what is still to be settled is no chat
        self._cued = not (options.question or self.chat)
        self._asked = options.question or (self.cued if self._cued else self.plain)
        self.stop: tuple[str, ...] = ("\n",) if self._cued else ()
        self.lora = lora or LoraSpec()
        self.optim = optim or OptimSpec()
        self.grader: Grader = grader or grading.load("offline")
        style = STYLES[options.style]
        self.style: Style = from_template(options.template, style) if options.template else style
        self._templates = templates(options.templates, style) if options.templates else {}
        self._others = _recorded_edits(options.other_edits) if options.other_edits else {}

    def tasks(self, split: Split, count: int | None, seed: int) -> Sequence[KnowledgeTask]:
        """A longer list starts with the shorter one. Only the chosen passages are ever held in memory."""

        def lot(passage: Passage) -> int:
            return derive_seed("draw", seed, passage.key)

        chosen: Iterable[Passage] = self.passages(split)
        if not self.options.shuffle:
            chosen = islice(chosen, count)
        else:
            chosen = sorted(chosen, key=lot) if count is None else heapq.nsmallest(count, chosen, key=lot)
        drawn = [self.task(passage) for passage in chosen]
        tasks = list(_unique(drawn))
        if not tasks or (count is not None and len(tasks) < count):
            asked = (
                f"{count} were asked for; ask for fewer or give a larger source" if tasks else self._none_fell_there()
            )
            raise UserError(f"{self._source(split)}: holds {len(tasks)} {split} passages; {asked}")
        if again := [task.id for task, found in zip(drawn, tasks, strict=True) if task.id != found.id]:
            _warn_once(
                f"{self._source(split)}: {len(again)} of the {len(tasks)} {split} passages repeat an entry, text and "
                f"questions alike ({again[0]!r}), and count as tasks of their own; to count it once, leave one there"
            )
        return tasks

    def _none_fell_there(self) -> str:
        if self.options.test:
            return "check the source"
        share = f"each is held out with a chance of {self.options.test_fraction:g} (domain.options.test_fraction)"
        return f"{share}: change that or domain.options.split_seed, or name a source as domain.options.test"

    def passages(self, split: Split) -> Iterator[Passage]:
        """The passages of a split, one at a time."""
        options = self.options
        if not options.test:
            held_out = split == "test"
            yield from (passage for passage in passages(options.train) if self._is_held_out(passage) == held_out)
        elif split == "test":
            yield from passages(options.test)
        else:
            test = {hash(passage.key) for passage in passages(options.test)}
            for passage in passages(options.train):
                if hash(passage.key) in test:
                    where = f"{options.train} and {options.test}"
                    raise UserError(f"{where}: both hold the passage {passage.id!r}; remove it from one of them")
                yield passage

    def task(self, passage: Passage) -> KnowledgeTask:
        task = KnowledgeTask(passage.id, passage.title, passage.context, ())
        return self._with_questions(task, passage.questions)

    def question_prompt(self, task: Task) -> Prompt | None:
        return None if task.questions else question_prompt(task.title, task.context, self.chat)

    def with_questions(self, task: Task, completion: str) -> KnowledgeTask | None:
        """With those worth asking whose answer stands in the passage, as it was asked for: others are made up."""
        known = _known(task)
        try:
            fit = worth_asking(parse_questions(completion), known.context, [])
        except DataError:
            return None
        questions = [(question, answer) for question, answer in fit if stands_in(answer, known.context)]
        return replace(self._with_questions(known, questions), family=SYNTHETIC) if questions else None

    def known_before(self) -> Sequence[KnowledgeTask]:
        """Questions of general knowledge."""
        return [self._with_questions(KnowledgeTask("known-before", "General knowledge", "", ()), COMMON)]

    def practice(self) -> Sequence[Prompt]:
        """Other questions of that kind."""
        return [self._question("General knowledge", text) for text in PRACTISED]

    def plain_texts(self) -> Sequence[Example]:
        """Plain sentences."""
        return [Example(sentence, whole=False) for sentence in SENTENCES]

    def prompt(self, task: Task) -> Prompt:
        return self.style.prompt(task.title, task.context, self.chat)

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        return self._recipe([*self._pieces(task, completion), _titled(task)])

    def styles(self, method: str) -> Sequence[str]:
        return METHOD_STYLES.get(method, ())

    def strategies(self) -> Sequence[str]:
        return (*STRATEGIES, *self._templates)

    def in_style(self, style: str, about: str = "") -> Knowledge:
        other = copy(self)
        other.style = self._templates[style] if style in self._templates else STYLES[style].about(about)
        return other

    def with_hint(self, hint: str) -> Knowledge:
        other = copy(self)
        other.style = replace(self.style, hint=hint)
        return other

    def advising(self, best: str, worst: str) -> Knowledge:
        other = copy(self)
        other.style, other.sample_stop = comparing(best, worst), ()
        return other

    def text(self, task: Task) -> tuple[Example, ...]:
        return (Example(_titled(task)),)

    def pieces(self, task: Task, completion: str) -> tuple[Example, ...]:
        return tuple(map(Example, self._pieces(task, completion)))

    def train_on(self, examples: Sequence[Example]) -> Recipe:
        return Recipe(tuple(examples), self.lora, self.optim)

    def in_sight(self, task: Task, prompt: Prompt) -> Prompt:
        if isinstance(prompt, str):
            return f"{_titled(task)}\n\n{prompt}"
        return (Message("user", f"{_titled(task)}\n\n{prompt[-1].content}"),)

    def teacher(self, task: Task, before: Sequence[Example]) -> str:
        return "".join(f"{text}\n\n" for text in (_titled(task), *(example.completion for example in before)))

    def corpus(self, edits: Iterable[tuple[Task, Sequence[str]]]) -> Recipe:
        """Many passages at once, each with its self-edits (none: the passage alone), for continued pretraining.

        Self-edits that cannot be trained on are left out.
        """
        texts: list[str] = []
        for task, completions in edits:
            for completion in completions:
                try:
                    texts += self._pieces(task, completion)
                except DataError:
                    continue
            texts.append(_titled(task))
        return self._recipe(texts)

    def baseline(self, name: str, task: Task, seed: int) -> Baseline | None:
        if name == "base":
            return Baseline(None, self.questions(task))
        if name == "passage only":
            return Baseline(self._recipe([_titled(task)]), self.questions(task))
        if name == "in-context":
            return Baseline(None, tuple(self.in_sight(task, question.prompt) for question in task.questions))
        if name == ANOTHER_MODEL:
            completion = self._others.get(Passage(task.title, task.context).key)
            return Baseline(self.recipe(task, completion, seed), self.questions(task)) if completion else None
        return None

    def questions(self, task: Task) -> tuple[Prompt, ...]:
        if not task.questions:
            raise UserError(f"{task.id}: the passage has no questions; give some, or have them written")
        return tuple(question.prompt for question in task.questions)

    def statements(self, task: Task) -> tuple[Example, ...]:
        """Each gold answer, as what follows its question; not its end, which trials do not teach and would drown it."""
        return tuple(self._statement(question.prompt, question.answer) for question in task.questions)

    async def grade(self, task: Task, answers: Sequence[str]) -> Grade:
        asked = zip(_known(task).asked, task.questions, answers, strict=True)
        items = [Item(text, question.answer, answer, task.title) for text, question, answer in asked]
        given = await judged(self.grader, items)
        return Grade(given, sum(given) / len(given))

    def _recipe(self, texts: Sequence[str]) -> Recipe:
        return self.train_on([Example(text) for text in texts])

    def _pieces(self, task: Task, completion: str) -> list[str]:
        """The training texts of a completion, the passage left out."""
        if len(completion) > MAX_COMPLETION:
            raise DataError(f"{task.id}: the self-edit has {len(completion)} characters, more than {MAX_COMPLETION}")
        said = completion.strip()
        shown = last_turn(self.prompt(task)).strip()
        if said.startswith(shown):
            said = said.removeprefix(shown).strip()
            if not said:
                raise DataError(f"{task.id}: the self-edit only repeats the prompt")
        lines = said.count("\n") + 1
        if lines > MAX_LINES:
            raise DataError(f"{task.id}: the self-edit has {lines} lines, more than {MAX_LINES}")
        texts = pieces_of(task.title, said, self.options.split_newlines, self.style.pairs)
        if not texts:
            raise DataError(f"{task.id}: the self-edit is empty")
        return texts

    def _with_questions(self, task: KnowledgeTask, questions: Sequence[tuple[str, str]]) -> KnowledgeTask:
        asked = tuple(Question(self._question(task.title, text), gold) for text, gold in questions)
        return replace(task, questions=asked, asked=tuple(text for text, _ in questions))

    def _statement(self, prompt: Prompt, gold: str) -> Example:
        if isinstance(prompt, str) and self._cued:
            return Example(f" {gold}", prompt, whole=False)
        return Example(gold, f"{prompt}\n" if isinstance(prompt, str) else prompt, whole=False)

    def _question(self, title: str, question: str) -> Prompt:
        text = self._asked.replace("{title}", title).replace("{question}", question)
        return (Message("user", text),) if self.chat else text

    def _is_held_out(self, passage: Passage) -> bool:
        lot = derive_seed("held out", self.options.split_seed, passage.key) / 2**60
        return lot < self.options.test_fraction

    def _source(self, split: Split) -> str:
        return self.options.test if split == "test" and self.options.test else self.options.train


def _known(task: Task) -> KnowledgeTask:
    if not isinstance(task, KnowledgeTask):
        raise TypeError(f"{task.id} is no task of the knowledge domain")
    return task


def _titled(task: Task) -> str:
    return f"{task.title}\n{task.context.strip()}"


def _unique(tasks: Iterable[KnowledgeTask]) -> Iterator[KnowledgeTask]:
    """Ids made unique where a source holds the very same entry twice."""
    seen: dict[str, int] = {}
    for task in tasks:
        seen[task.id] = seen.get(task.id, 0) + 1
        yield replace(task, id=f"{task.id}-{seen[task.id]}") if seen[task.id] > 1 else task


@cache
def _warn_once(line: str) -> None:
    """Tasks are drawn many times over."""
    logger.warning(line)


def _recorded_edits(path: str) -> Mapping[str, str]:
    """First self-edit by passage."""
    record = read_record(path)
    return {Passage(p.title, p.context).key: p.completions[0].text for p in record.passages if p.completions}
