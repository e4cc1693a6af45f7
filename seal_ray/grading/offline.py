"""The offline verdict: the probability that a judge model would call an answer right, with no network and no model.

A logistic function of what `features.py` sees in the words, whose weights `fit.py` learnt from recorded verdicts of
GPT-4.1. As a reward, the probabilities are better averaged than cut at one half.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from seal_ray.grading.base import Item
from seal_ray.grading.features import features
from seal_ray.sources import SourcePath
from seal_ray.types import UserError

WEIGHTS = Path(__file__).with_name("weights.json")


class Offline:
    """Deterministic: the same answer gets the same probability, everywhere."""

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)

        weights: SourcePath = str(WEIGHTS)
        """A file written by `python -m seal_ray.grading.fit`."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        weights = self.options.weights
        try:
            model: Mapping[str, Any] = json.loads(Path(weights).read_text(encoding="utf-8"))
            self._bias, self._weights = float(model["bias"]), model["weights"]
            # one line per rarity; the last is that of the words named nowhere
            tiers = {float(tier): str(held).split() for tier, held in model["rarity"].items()}
            self._rarity = {word: tier for tier, held in tiers.items() for word in held} | {"": max(tiers)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{weights}: not a file of verdict weights ({error}); fit one anew") from None

    def probability(self, item: Item) -> float:
        found = features(item, self._rarity)
        score = self._bias + sum(weight * found[name] for name, weight in self._weights.items())
        return 1 / (1 + math.exp(-score))

    async def grade(self, items: Sequence[Item]) -> list[float]:
        return [self.probability(item) if item.answer.strip() else 0.0 for item in items]
