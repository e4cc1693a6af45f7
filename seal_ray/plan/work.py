"""What a config will ask of its workers: every self-edit, trial and question, in tokens."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from seal_ray.config import Config
from seal_ray.domains.base import Domain, JointTraining, NeedsQuestions
from seal_ray.domains.registry import LIKELIHOOD, load_domain
from seal_ray.model.architecture import model_folder
from seal_ray.types import DataError, Example, OptimSpec, Prompt, Question, Recipe, Task, UserError, derive_seed

EDIT_LENGTH = 1.5
"""A self-edit's length, in lengths of its passage, where none has been seen."""
KEPT_SHARE = 0.5
"""Of the self-edits, by rules that keep all that taught something."""
_DRAWN = 200  # different (task, self-edit) pairs that are looked at in full; more repeat them
_DRAWN_DECISIONS = 16  # where a self-edit is a decision, each makes hundreds of texts


@dataclass(frozen=True)
class Try:
    """A trial: its training steps, the tokens over all of them, and the questions asked after."""

    steps: int
    tokens: float
    rows: int
    prompt: float
    """Tokens of a question."""
    answer: int


@dataclass(frozen=True)
class Edit:
    """A self-edit and the trial that each of its seeds is."""

    prompt: float
    sampled: float
    tried: Try | None
    """None when it cannot be trained on."""
    twin: bool = False
    """Its recipe is another's too, so that its trials are done once for both."""


@dataclass(frozen=True)
class Work:
    train: tuple[tuple[Edit, ...], ...]
    """By training task of a round; every round is taken to be alike."""
    test: tuple[tuple[Edit, ...], ...]
    baselines: tuple[Try, ...]
    together: Try | None
    """The one trial on all held-out tasks, for continued pretraining."""
    update: Try
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """What an earlier run's self-edits were like."""

    completions: tuple[tuple[str, int], ...]
    """Text and tokens."""
    twins: float = 0.0
    """Share of trials that were another's too."""
    kept: float | None = None
    """Self-edits kept for each training task."""


def count_work(config: Config, seen: Seen | None = None) -> Work:
    """The work of a config, its tasks drawn as the run draws them, its self-edits as seen, or as assumed."""
    return _Counting(config, load_domain(config), seen).work()


class _Counting:
    def __init__(self, config: Config, domain: Domain, seen: Seen | None) -> None:
        self.config, self.domain, self.seen = config, domain, seen
        self.notes: list[str] = []
        self.count = self._counter()
        self.rng = random.Random(derive_seed("plan", config.run.seed))

    def work(self) -> Work:
        config = self.config
        train, test = self._tasks("train"), self._tasks("test")
        per_train, per_test = config.sampling.per_task, config.evaluation.samples
        rounds = config.run.rounds
        edits = self._edits(train, per_train) if rounds else []
        # Held-out tasks are tried last, so that their draws do not depend on how many training tasks there are.
        tested = self._edits(test, per_test)
        if not self.seen and (edits or tested):
            length = fmean(edit.sampled for group in (*edits, *tested) for edit in group)
            self.notes.append(f"a self-edit has {length:.0f} tokens on average")
        return Work(
            tuple(edits),
            tuple(tested),
            tuple(self._baselines(test)),
            self._together(test, tested) if config.evaluation.joint else None,
            self._update(edits, train),
            tuple(self.notes),
        )

    def _tasks(self, split: Any) -> Sequence[Task]:
        section, seed = self.config.domain, self.config.run.seed
        count = section.train if split == "train" else section.test
        if split == "train":
            seed = derive_seed(seed, "round", 1)
        try:
            return self._with_questions(self.domain.tasks(split, count or None, seed))
        except UserError as error:
            if self.domain.schema is not None or not count:
                raise
            note = f"{error}; taking {count} {split} tasks with a passage of 130 words and five questions each"
            self.notes.append(note)
            return [_typical(split, index) for index in range(count)]

    def _with_questions(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Those that come without any get some when the run begins; here, as many as usual and as long."""
        domain = self.domain
        if not isinstance(domain, NeedsQuestions):
            return tasks
        found = [
            task if domain.question_prompt(task) is None else replace(task, questions=_QUESTIONS) for task in tasks
        ]
        bare = sum(task.questions is _QUESTIONS for task in found)
        if bare:
            self.notes.append(
                f"{bare} passages have no questions: {len(_QUESTIONS)} each are asked; writing them is not counted"
            )
        return [task if task.questions else replace(task, questions=_QUESTIONS) for task in tasks]

    def _edits(self, tasks: Sequence[Task], per_task: int) -> list[tuple[Edit, ...]]:
        """Per task; beyond the first pairs, earlier ones stand for more of their kind."""
        limit = _DRAWN_DECISIONS if self.domain.schema else _DRAWN
        drawn: list[Edit] = []
        groups = []
        for task in tasks:
            group = []
            for index in range(per_task):
                if len(drawn) < limit:
                    drawn.append(self._edit(task, index))
                    edit = drawn[-1]
                else:
                    edit = self.rng.choice(drawn)
                twin = self.seen is not None and self.rng.random() < self.seen.twins
                group.append(replace(edit, twin=twin))
            groups.append(tuple(group))
        return groups

    def _edit(self, task: Task, index: int) -> Edit:
        text, tokens = self._completion(task)
        recipe: Recipe | None
        try:
            recipe = self.domain.recipe(task, text, derive_seed("plan", task.id, index))
        except DataError:
            recipe = None if self.seen or self.domain.schema else self._stand_in(task)
        tried = self._try(recipe, self._asked(task)) if recipe else None
        return Edit(self.count(self.domain.prompt(task)), tokens, tried)

    def _completion(self, task: Task) -> tuple[str, float]:
        limit = self.config.sampling.max_tokens
        if self.seen:
            text, tokens = self.rng.choice(self.seen.completions)
            return text, min(tokens, limit)
        if self.domain.schema:
            text = _decision(self.domain.schema, self.rng)
        else:
            words = task.context.split()
            count = max(1, round(EDIT_LENGTH * len(words) * self.rng.uniform(0.5, 1.5)))
            lines = max(1, len(task.context.splitlines()), count // 30)
            said = [words[number % len(words)] for number in range(count)]
            text = "\n".join(" ".join(said[line::lines]) for line in range(lines))
        return text, min(self.count(text), limit)

    def _stand_in(self, task: Task) -> Recipe | None:
        """Where a made-up self-edit is none of the domain's, a baseline that trains shows what one is like."""
        for name in (*self.config.evaluation.baselines, "fixed", "passage only"):
            baseline = self.domain.baseline(name, task, 0)
            if baseline and baseline.recipe:
                return baseline.recipe
        return None

    def _asked(self, task: Task) -> Sequence[Prompt]:
        return () if self.config.grading.name == LIKELIHOOD else self.domain.questions(task)

    def _try(self, recipe: Recipe | None, questions: Sequence[Prompt]) -> Try:
        prompt = fmean(map(self.count, questions)) if questions else 0.0
        steps, tokens = self._training(recipe.examples, recipe.optim) if recipe else (0, 0.0)
        return Try(steps, tokens, len(questions), prompt, self.config.trial.answer_tokens)

    def _training(self, examples: Sequence[Example], optim: OptimSpec) -> tuple[int, float]:
        lengths = [self._cut(self.count(e.prompt) + self.count(e.completion)) for e in examples]
        return optim.epochs * -(-len(lengths) // optim.batch_size), optim.epochs * sum(lengths)

    def _baselines(self, tasks: Sequence[Task]) -> list[Try]:
        found = []
        for name in self.config.evaluation.baselines:
            whole = self.config.evaluation.joint and name == "passage only"
            for task in tasks[:1] if whole else tasks:
                baseline = self.domain.baseline(name, task, 0)
                if baseline and whole:
                    found.append(self._all_at_once(tasks, ()))
                elif baseline:
                    # Asking alone draws no lots: every seed of it is one trial.
                    seeds = self.config.evaluation.seeds if baseline.recipe else 1
                    found += [self._try(baseline.recipe, baseline.questions)] * seeds
        return found

    def _together(self, tasks: Sequence[Task], edits: Sequence[Sequence[Edit]]) -> Try:
        return self._all_at_once(tasks, [edit.sampled for group in edits for edit in group])

    def _all_at_once(self, tasks: Sequence[Task], more: Sequence[float]) -> Try:
        if not isinstance(self.domain, JointTraining):
            raise UserError(f"evaluation.joint: the domain {self.domain.name!r} cannot train on many tasks at once")
        whole = self._try(
            self.domain.corpus([(task, ()) for task in tasks]), [q for task in tasks for q in self._asked(task)]
        )
        optim = self.config.trial.optim
        texts = sum(more) / 40  # the usual length of one line of a self-edit
        steps = whole.steps + round(optim.epochs * texts / optim.batch_size)
        return replace(whole, steps=steps, tokens=whole.tokens + optim.epochs * sum(more))

    def _update(self, groups: Sequence[Sequence[Edit]], tasks: Sequence[Task]) -> Try:
        optim, rule, per_task = self.config.update.optim, self.config.selection.rule, self.config.sampling.per_task
        kept = self.seen.kept if self.seen else None
        if kept is None:
            kept = 1.0 if rule in ("best", "random", "usable") else KEPT_SHARE * per_task
            if kept != 1.0:
                self.notes.append(f"{KEPT_SHARE:.0%} of the self-edits are kept")
        edits = [edit for group in groups for edit in group]
        if not edits:
            return Try(0, 0.0, 0, 0.0, 0)
        count = max(1, round(kept * len(groups)))
        length = fmean(self._cut(edit.prompt + edit.sampled) for edit in edits)
        steps = optim.epochs * -(-count // optim.batch_size)
        return Try(steps, optim.epochs * count * length + self._held(steps, tasks), 0, 0.0, 0)

    def _held(self, steps: int, tasks: Sequence[Task]) -> float:
        """What the texts that an update is held to come to in tokens learnt: they go forward twice, and back once."""
        questions = [question for task in tasks for question in task.questions]
        if not self.config.update.kl_coef or not questions:
            return 0.0
        length = fmean(self._cut(self.count(each.prompt) + self.count(each.answer)) for each in questions)
        return steps * min(self.config.update.optim.batch_size, len(questions)) * length * 4 / 3

    def _cut(self, tokens: float) -> float:
        """What is learnt of a text this long."""
        return min(tokens, self.config.model.max_length)

    def _counter(self) -> Callable[[Prompt], float]:
        """Counts the tokens of a prompt: with the model's own tokenizer where that is here."""
        folder = model_folder(self.config.model.path)
        if folder and (folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            return lambda prompt: float(len(tokenizer.encode(_text(prompt), add_special_tokens=False).ids))
        self.notes.append("the model's tokenizer is not here: tokens are counted as words, digits and marks")
        return lambda prompt: float(len(_PIECES.findall(_text(prompt))))


_QUESTIONS = (Question(" ".join(["word"] * 15), "word"),) * 5
"""As a passage of usual length has."""
_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]|\n")


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)


def _typical(split: str, index: int) -> Task:
    return Task(f"{split}-{index}", "two words", " ".join(["word"] * 125 + ["."] * 5), _QUESTIONS)


def _decision(schema: dict[str, Any], rng: random.Random) -> str:
    """A random reply that the schema allows."""

    def value(rule: dict[str, Any]) -> Any:
        if "enum" in rule:
            return rng.choice(rule["enum"])
        if rule["type"] == "boolean":
            return rng.random() < 0.5
        low, high = rule["minimum"], rule["maximum"]
        return rng.randint(low, high) if rule["type"] == "integer" else rng.uniform(low, high)

    return json.dumps({name: value(rule) for name, rule in schema["properties"].items()})
