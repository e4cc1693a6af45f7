"""The offline verdict: the probability that a judge model would call an answer right, with no network and no model.

A logistic function of what `features.py` sees in the words, whose weights `fit.py` learnt from recorded verdicts of
GPT-4.1, times another that tells answers from heaps of words, however many of them hit. As a reward, the
probabilities are better averaged than cut at one half.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal_ray.grading.base import Item
from seal_ray.grading.features import features
from seal_ray.grading.quantities import signs_differ
from seal_ray.sources import SourcePath
from seal_ray.types import UserError

WEIGHTS = Path(__file__).with_name("weights.json")


class _Linear:
    """A logistic function of features by name."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        self._bias, self._weights = float(model["bias"]), {name: float(w) for name, w in model["weights"].items()}

    def __call__(self, found: Mapping[str, float]) -> float:
        score = self._bias + sum(weight * found[name] for name, weight in self._weights.items())
        return 1 / (1 + math.exp(-min(max(score, -50.0), 50.0)))


class Offline:
    """Deterministic: the same answer gets the same probability, everywhere."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
        weights: SourcePath = str(WEIGHTS)
        """A file written by `python -m seal_ray.grading.fit`."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        weights = self.options.weights
        try:
            model: Mapping[str, Any] = json.loads(Path(weights).read_text(encoding="utf-8"))
            self._said, self._how = _Linear(model), _Linear(model["manner"])
            # one line per rarity; the last is that of the words named nowhere
            tiers = {float(tier): str(held).split() for tier, held in model["rarity"].items()}
            self._rarity = {word: tier for tier, held in tiers.items() for word in held} | {"": max(tiers)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{weights}: not a file of verdict weights ({error}); fit one again") from None

    def probability(self, item: Item) -> float:
        if signs_differ(item.gold, item.answer):  # of which there is next to nothing to learn from
            return 0.0
        said, how = features(item, self._rarity)
        return self._said(said) * self._how(how)

    async def grade(self, items: Sequence[Item]) -> list[float]:
        """Grade in a thread: the words are taken apart in Python, some milliseconds an answer."""
        return await asyncio.to_thread(
            lambda: [self.probability(item) if item.answer.strip() else 0.0 for item in items]
        )
