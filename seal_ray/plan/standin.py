"""A domain as a planned run sees it: its tasks and recipes are real, what is written and earned is drawn.

Self-edits are an earlier run's, or made up; rewards are drawn so that as many of them teach something as did there, or
half. Everything is drawn once: the same run planned on other workers does the same.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from seal_ray.config import Config
from seal_ray.domains.base import Domain, JointTraining, NeedsQuestions, Split
from seal_ray.domains.registry import load_domain
from seal_ray.plan.sizes import Sizes
from seal_ray.selection.reliability import Prior
from seal_ray.types import Completion, DataError, Grade, Prompt, Question, Recipe, SampleRequest, Task, Trial, UserError

EDIT_LENGTH = 1.5
"""A self-edit's length, in lengths of its passage, where none has been seen."""
TAUGHT = 0.5
"""Share of self-edits that teach something, where none have been seen."""
_DRAWN, _DRAWN_DECISIONS = 200, 16
"""How many different self-edits are made at most; more repeat them. A decision makes hundreds of training texts, so of
those there are fewer."""
_QUESTIONS = (Question(" ".join(["word"] * 15), "word"),) * 5
"""As a passage of usual length has."""
_WRITTEN = "\n".join(f"Question: {each.prompt}?\nAnswer: {each.answer}" for each in _QUESTIONS)


@dataclass(frozen=True)
class Seen:
    """What an earlier run's self-edits were like."""

    completions: tuple[tuple[str, int], ...]
    """Text and tokens."""
    twins: float = 0.0
    """Share of the trials that were the same as another, and done once."""
    taught: float | None = None
    """Share of self-edits that taught something."""
    solved: float = 0.0
    """Share of training tasks that were solved without any training."""


class Written(str):
    """A self-edit. Its number tells it from others of the same words; `like` is the place of its words in the pool."""

    number: int
    like: int


@dataclass(frozen=True)
class NamedRecipe(Recipe):
    """A recipe that need not be read whole to be told from others."""

    name: str = ""

    @property
    def key(self) -> str:
        return self.name


class StandIn:
    """What becomes of a domain's self-edits and trials in a planned run."""

    def __init__(self, config: Config, sizes: Sizes, seen: Seen | None = None) -> None:
        self._config, self._sizes, self._seen = config, sizes, seen
        self._real = load_domain(config)
        self.notes: dict[str, None] = {}
        self._bare: set[str] = set()
        self._right = False
        self._tasks: dict[tuple[str, int | None, int], Sequence[Task]] = {}
        self._numbers: dict[str, int] = {}
        """Of the training tasks, in the order they were drawn."""
        self._prompts: dict[str, Prompt] = {}
        self._by_prompt: dict[Prompt, Task] = {}
        self._questions: dict[str, tuple[Prompt, ...]] = {}
        self._texts: dict[int, tuple[Written, int]] = {}
        """By the seed they were asked for with, with their tokens."""
        self._last: dict[Prompt, tuple[Written, int]] = {}
        self._limit = _DRAWN_DECISIONS if self._real.schema else _DRAWN
        known = seen.completions if seen else ()
        self._pool = random.Random(config.run.seed).sample(known, min(self._limit, len(known)))
        self._looked_at: dict[int | str, Recipe | DataError] = {}
        self._tried: dict[tuple[str, Any], dict[str, int]] = {}
        self.domain: Domain = copy.copy(self._real)
        own: tuple[Callable[..., Any], ...] = (self.tasks, self.prompt, self.questions, self.recipe, self.grade)
        own += (self.with_questions,) if isinstance(self._real, NeedsQuestions) else ()
        own += (self.corpus,) if isinstance(self._real, JointTraining) else ()
        vars(self.domain).update({method.__name__: method for method in own})

    @property
    def assumptions(self) -> list[str]:
        bare = f"{len(self._bare)} passages have no questions: {len(_QUESTIONS)} each are asked"
        written = "" if self._seen or not self._texts else fmean(tokens for _, tokens in self._texts.values())
        length = f"a self-edit has {written:.0f} tokens on average" if written else ""
        return [note for note in (*self.notes, bare if self._bare else "", length) if note]

    # What the domain does ----------------------------------------------------------------------------

    def tasks(self, split: Split, count: int | None, seed: int) -> Sequence[Task]:
        """The domain's own; where its source is not here, as many of the usual size."""
        asked = split, count, seed
        if asked not in self._tasks:
            try:
                self._tasks[asked] = self._real.tasks(split, count, seed)
            except UserError as error:
                if self._real.schema is not None or not count:
                    raise
                usual = "a passage of 130 words and five questions each"
                self.notes[f"{error}; taking {count} {split} tasks with {usual}"] = None
                self._tasks[asked] = [_typical(split, index) for index in range(count)]
        for task in self._tasks[asked] if split == "train" else ():
            self._numbers.setdefault(task.id, len(self._numbers))
        return self._tasks[asked]

    def with_questions(self, task: Task, completion: str) -> Task:
        self._bare.add(task.id)
        return replace(task, questions=_QUESTIONS)

    def prompt(self, task: Task) -> Prompt:
        if task.id not in self._prompts:
            self._prompts[task.id] = prompt = self._real.prompt(task)
            self._by_prompt[prompt] = task
        return self._prompts[task.id]

    def questions(self, task: Task) -> tuple[Prompt, ...]:
        if task.id not in self._questions:
            self._questions[task.id] = self._real.questions(task)
        return self._questions[task.id]

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        """The same for every seed: a seed decides the order of what is trained on, and not how much that is."""
        like, number = getattr(completion, "like", completion), getattr(completion, "number", completion)
        if like not in self._looked_at:
            self._looked_at[like] = self._look(task, completion)
        found = self._looked_at[like]
        if isinstance(found, DataError):
            raise found
        return NamedRecipe(found.examples, found.lora, found.optim, name=f"{task.id} {number}")

    def corpus(self, edits: Iterable[tuple[Task, Sequence[str]]]) -> Recipe:
        assert isinstance(self._real, JointTraining)
        texts = list(edits)
        found = self._real.corpus(texts)
        written = [getattr(text, "number", text) for _, own in texts for text in own]
        return NamedRecipe(found.examples, found.lora, found.optim, name=f"all {hash(tuple(written))}")

    async def grade(self, task: Task, answers: Sequence[str]) -> Grade:
        """The reward that the simulated worker gave as its answers."""
        if answers[0] == _WRITTEN:  # what was sampled is no trial's: every second time it is right
            self._right = not self._right
            return Grade((float(self._right),) * len(answers), float(self._right))
        reward = float(answers[0])
        return Grade((reward,) * len(answers), reward)

    # What the workers do -----------------------------------------------------------------------------

    def write(self, request: SampleRequest) -> Completion:
        """A self-edit for this prompt; for one that asks for something else, questions on a passage."""
        task = self._by_prompt.get(request.prompt)
        if task is None:
            return Completion(_WRITTEN, round(self._sizes.prompt(_WRITTEN)), finished=True)
        if request.seed not in self._texts:
            self._texts[request.seed] = self._draw(task, request.seed)
        text, tokens = self._texts[request.seed]
        return Completion(text, tokens, finished=tokens < request.max_tokens)

    def reward(self, trial: Trial) -> float:
        """Without training 0, or 1 where the task is among the solved; otherwise what the self-edit earns."""
        number, solved = self._numbers.get(trial.task_id), self._seen.solved if self._seen else 0.0
        if trial.recipe is None or number is None:
            return float(number is not None and math.floor((number + 1) * solved) > math.floor(number * solved))
        if self._config.selection.race:
            return self._noisy(trial)
        tried = self._tried.setdefault((trial.task_id, trial.base), {})
        each, share = self._config.sampling.per_task, self.taught
        place = number * each + tried.setdefault(trial.recipe.key, len(tried)) % each
        return float(math.ceil((place + 1) * share) > math.ceil(place * share))  # spread evenly, the first among them

    @property
    def taught(self) -> float:
        """Share of the self-edits that teach something."""
        return TAUGHT if self._seen is None or self._seen.taught is None else self._seen.taught

    def _noisy(self, trial: Trial) -> float:
        """As noisy as published rounds were, which is what races expect."""
        assert trial.recipe
        prior, recipe = Prior(), trial.recipe.key
        parts = ((prior.level, trial.task_id), (prior.spread, recipe), (prior.noise, f"{recipe} {trial.seed}"))
        reward = prior.mean + sum(random.Random(f"{trial.task_id} {name}").gauss(0, sd) for sd, name in parts)
        return min(1.0, max(0.01, reward))

    # Drawing -----------------------------------------------------------------------------------------

    def _draw(self, task: Task, seed: int) -> tuple[Written, int]:
        """A self-edit for this task, with its tokens: a new one while the pool has room, or one of the pool."""
        prompt, rng = self._prompts[task.id], random.Random(seed)
        if self._seen and prompt in self._last and rng.random() < self._seen.twins:
            return self._last[prompt]
        like = rng.randrange(self._limit if not self._seen else len(self._pool))
        if like >= len(self._pool):
            text = _decision(self._real.schema, rng) if self._real.schema else _notes(task, rng)
            like = len(self._pool)
            self._pool.append((text, round(self._sizes.prompt(text))))
        text, tokens = self._pool[like]
        written = Written(text)
        written.number, written.like = len(self._texts), like
        self._last[prompt] = written, min(tokens, self._config.sampling.max_tokens)
        return self._last[prompt]

    def _look(self, task: Task, completion: str) -> Recipe | DataError:
        try:
            return self._real.recipe(task, completion, 0)
        except DataError as error:
            if self._seen or self._real.schema:
                return error
            # A made-up self-edit need not be one of the domain's: a baseline that trains shows what one is like.
            for name in (*self._config.evaluation.baselines, "fixed", "passage only"):
                baseline = self._real.baseline(name, task, 0)
                if baseline and baseline.recipe:
                    return baseline.recipe
            return error


def _typical(split: str, index: int) -> Task:
    return Task(f"{split}-{index}", "two words", " ".join(["word"] * 125 + ["."] * 5) + f" {index}", _QUESTIONS)


def _notes(task: Task, rng: random.Random) -> str:
    """The passage's own words, in lines, about as many as notes on it have."""
    words = task.context.split()
    count = max(1, round(EDIT_LENGTH * len(words) * rng.uniform(0.5, 1.5)))
    lines = max(1, len(task.context.splitlines()), count // 30)
    said = [words[number % len(words)] for number in range(count)]
    return "\n".join(" ".join(said[line::lines]) for line in range(lines))


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
