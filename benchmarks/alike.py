"""What trained texts begin with alike, worked out once or for each of them: milliseconds a token, in pairs.

    python -m benchmarks alike --model HuggingFaceTB/SmolLM2-135M-Instruct

The texts are those that `learn` teaches of an invented document, without notes and questions of the model's own.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import cast
from unittest.mock import patch

from benchmarks.learning import DOCUMENTS
from seal_ray.bank import Bank, Job, TokenText, sharing
from seal_ray.domains.knowledge.studied import Studied
from seal_ray.domains.registry import load_domain
from seal_ray.learning.documents import read_documents
from seal_ray.learning.learn import DOCUMENTS as LEARNT
from seal_ray.learning.settings import config_for
from seal_ray.loop.preflight import precise
from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.record.storage import Store
from seal_ray.settling import settle
from seal_ray.types import Recipe
from seal_ray.workers.engines.text import render_example


@dataclass(frozen=True)
class Found:
    texts: int
    tokens: int
    """Of an epoch."""
    adapters: int
    """Trained side by side."""
    once_ms: float
    each_ms: float
    ratio: float
    """The median of the pairs'."""

    def line(self) -> str:
        return (
            f"{self.texts} texts of {self.tokens} tokens, {self.adapters} adapters: {self.once_ms:.1f} ms a token with "
            f"beginnings worked out once, {self.each_ms:.1f} with each by itself ({self.ratio:.2f} times as long)"
        )


def measure(model: str, document: str, adapters: int, pairs: int) -> Found:
    """Train so many adapters for an epoch on the texts of a document, both ways in turn."""
    recipe, spec = _texts(model, document)
    tokenizer = load_tokenizer(spec)
    texts = tuple(
        TokenText.of(*render_example(tokenizer, example), learn_prompt=example.learn_prompt)
        for example in recipe.examples
    )
    lora, optim = recipe.lora, replace(recipe.optim, epochs=1)
    assert lora
    bank = Bank(load_model(spec), tokenizer, slots=adapters)
    tokens = sum(len(text.ids) for text in texts)

    def epoch() -> float:
        began = time.perf_counter()
        for result in bank.run(Job(f"{n}", texts, lora, optim, n) for n in range(adapters)):
            assert result.failure is None, result.failure
        return 1e3 * (time.perf_counter() - began) / (tokens * adapters)

    epoch()
    once, each = list[float](), list[float]()
    for _ in range(pairs):
        once.append(epoch())
        with patch.object(sharing, "WORTH", tokens):
            each.append(epoch())
    ratio = median(b / a for a, b in zip(once, each, strict=True))
    return Found(len(texts), tokens, adapters, median(once), median(each), ratio)


def _texts(model: str, document: str) -> tuple[Recipe, ModelSpec]:
    """What `learn` teaches of a document, and the model that it teaches."""
    with tempfile.TemporaryDirectory() as folder:
        config = settle(config_for(folder, model)).config
        read_documents([DOCUMENTS / f"{document}.md"], Path(folder)).move_to(Store(folder), LEARNT)
        domain = cast(Studied, load_domain(config))
        config = precise(config, domain)
        tasks = domain.tasks("train", None, config.run.seed)
        return domain.corpus((domain.asked(task, [], []), []) for task in tasks), ModelSpec.of(config.model)
