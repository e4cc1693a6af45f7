"""What a calibration measures: a little first, then as much of a config's own work as is sure to end in time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Protocol

from seal_ray.config import Config
from seal_ray.domains.base import Domain
from seal_ray.plan.measure import Observed, work_of
from seal_ray.types import (
    BASE,
    Completion,
    DataError,
    Outcome,
    Recipe,
    SampleRequest,
    Task,
    Trial,
    UserError,
    derive_seed,
)

logger = logging.getLogger(__name__)

TEXTS = 64
"""The most texts that are sampled side by side."""
_FIRST, _FIRST_TOKENS = 1 / 64, 4
"""Share of the whole that is measured first, and tokens of a self-edit."""
_GROWTH = 1.5
"""A share that is g times as large takes g to this power as long at most: more of the work, and more side by side."""
_SURE, _WORTH = 2.0, 1.3
"""How many times the time expected there has to be left, and by how much a step up must be larger to be worth it."""


class Bench(Protocol):
    """Workers that are timed. What has not ended after so many seconds is given up: None."""

    def now(self) -> float: ...

    def sample(self, requests: Sequence[SampleRequest], seconds: float) -> tuple[float, Sequence[Completion]] | None:
        """Seconds of one sampler's work, and what it wrote."""
        ...

    def run(self, trials: Sequence[Trial], seconds: float) -> Sequence[tuple[float, Sequence[Outcome]]] | None:
        """These trials on every trainer at once; of each, the seconds of its work and what came of them."""
        ...


@dataclass(frozen=True)
class Climbed:
    """What was observed, and the largest share of the whole that was measured."""

    observed: tuple[Observed, ...]
    share: float


class Ladder:
    """Measures the work of one config on a bench."""

    def __init__(self, config: Config, domain: Domain, tasks: Sequence[Task], bench: Bench) -> None:
        self._config, self._domain, self._tasks, self._bench = config, domain, tasks, bench
        self.completions: list[tuple[Task, Completion]] = []
        """The self-edits of the largest share that was sampled."""

    def sample(self, until: float) -> Climbed:
        """Write self-edits: one alone, and more side by side."""
        return self._climb(self._sample, min(_FIRST, _FIRST_TOKENS / self._config.sampling.max_tokens), until)

    def train(self, until: float) -> Climbed:
        """Try the self-edits that were sampled: asking alone, and trials in a nearly empty and in a full bank."""
        usable = list(self._usable())
        if not usable:
            raise UserError("no self-edit that was sampled can be trained on; nothing to measure")
        return self._climb(lambda share, first, left: self._train(usable, share, first, left), _FIRST, until)

    def _climb(
        self, measure: Callable[[float, bool, float], list[Observed] | None], share: float, until: float
    ) -> Climbed:
        found: list[Observed] = []
        reached = 0.0
        while True:
            begun = self._bench.now()
            new = measure(share, not found, until - begun)
            if new is None:
                return Climbed(tuple(found), reached)
            found, reached, took = found + new, share, max(1e-3, self._bench.now() - begun)
            grown = (max(0.0, until - self._bench.now()) / (_SURE * took)) ** (1 / _GROWTH)
            if share >= 1.0 or grown < _WORTH:
                return Climbed(tuple(found), reached)
            share = min(1.0, share * grown)

    def _sample(self, share: float, first: bool, left: float) -> list[Observed] | None:
        limit = math.ceil(self._config.sampling.max_tokens * share)
        until, observed, written = self._bench.now() + left, list[Observed](), list[tuple[Task, Completion]]()
        for count in (1, max(2, round(TEXTS * share**0.5))):
            logger.info("measuring: %d self-edits of up to %d tokens", count, limit)
            tasks = list(islice(cycle(self._tasks), count))
            requests = [self._request(task, index, limit) for index, task in enumerate(tasks)]
            done = self._bench.sample(requests, until - self._bench.now())
            if done is None:
                return None
            seconds, texts = done
            written += zip(tasks, texts, strict=True)
            lengths = [text.tokens for text in texts]
            observed.append(Observed(seconds, (max(lengths) + 1, sum(lengths)), first and not observed))
        self.completions = written
        return observed

    def _train(
        self, usable: Sequence[tuple[Task, Recipe]], share: float, first: bool, left: float
    ) -> list[Observed] | None:
        until, observed = self._bench.now() + left, list[Observed]()
        full = max(2, round(self._config.workers.slots * share**0.5))  # what one takes does not tell a step from tokens
        sizes = [(1, False), (full, False), (1, True), (full, True)]
        for count, trained in [(1, True), *sizes] if first else sizes:
            how = "with" if trained else "without"
            logger.info("measuring: %d trials %s training, %.2g of their size", count, how, share)
            trials = [self._trial(*usable[-1 - i % len(usable)], i, trained, share) for i in range(count)]
            done = self._bench.run(trials, until - self._bench.now())
            if done is None:
                return None
            answer = trials[0].max_answer_tokens
            observed += [
                Observed(seconds, work_of(outcomes, self._config.workers.slots, answer), first and not observed)
                for seconds, outcomes in done
            ]
        return observed

    def _usable(self) -> Iterator[tuple[Task, Recipe]]:
        """What was sampled as recipes; where none of it is one, baselines that train show what they are like."""
        found = False
        for task, text in self.completions:
            try:
                yield task, self._domain.recipe(task, text.text, 0)
                found = True
            except DataError:
                continue
        for task in () if found else self._tasks:
            for name in (*self._config.evaluation.baselines, "fixed", "passage only"):
                baseline = self._domain.baseline(name, task, 0)
                if baseline and baseline.recipe:
                    yield task, baseline.recipe

    def _request(self, task: Task, index: int, limit: int) -> SampleRequest:
        settings = self._config.sampling
        seed = derive_seed("probe", self._config.run.seed, task.id, index)
        prompt, stop = self._domain.prompt(task), self._domain.sample_stop
        return SampleRequest(BASE, prompt, seed, settings.temperature, settings.top_p, limit, stop, self._domain.schema)

    def _trial(self, task: Task, recipe: Recipe, index: int, trained: bool, share: float) -> Trial:
        asked = tuple(self._domain.questions(task))
        answer = math.ceil(self._config.trial.answer_tokens * share)
        part = _part(recipe, share) if trained else None
        seed = derive_seed("probe", index, trained, share)
        return Trial(task.id, BASE, part, seed, asked[: _root(len(asked), share)], answer, self._domain.stop)


def _part(recipe: Recipe, share: float) -> Recipe:
    examples = recipe.examples[: _root(len(recipe.examples), share)]
    return Recipe(examples, recipe.lora, replace(recipe.optim, epochs=_root(recipe.optim.epochs, share)))


def _root(count: int, share: float) -> int:
    return math.ceil(count * share**0.5)
