"""How many answers change with the company they are computed in: the same prompts asked alone, and all together.

    python -m benchmarks company jobs/knowledge_small.toml --model.path MODEL

In exact arithmetic none would. Rounding depends on the shapes of the products, and where two tokens are nearly as
likely it decides between them: the coarser the numbers, the more often.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from seal_ray.bank import Bank, SampleSpec
from seal_ray.config import Config
from seal_ray.domains.registry import load_domain
from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.model.precision import AUTO
from seal_ray.settling import settle
from seal_ray.types import Prompt, UserError
from seal_ray.workers.engines.text import render_prompt

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Flips:
    """What was found in one precision."""

    dtype: str
    answers: int
    flipped: int
    """Answers that are another text in company than alone."""
    first: int
    """Of those, the ones that differ in their very first token."""


def measure(config: Config, dtypes: Sequence[str]) -> list[Flips]:
    """Ask a config's questions, closed book and of its untouched base, in each precision."""
    config = settle(replace(config, model=replace(config.model, dtype=AUTO))).config
    prompts = questions(config)
    return [flips(config.in_precision(dtype), prompts) for dtype in dtypes]


def questions(config: Config) -> list[Prompt]:
    """The questions of all tasks, those to train on and those held out."""
    domain, section = load_domain(config), config.domain
    tasks = [
        *domain.tasks("train", section.train or None, config.run.seed),
        *domain.tasks("test", section.test or None, config.run.seed),
    ]
    prompts = [question.prompt for task in tasks for question in task.questions]
    if len(prompts) < 2:
        raise UserError("company takes at least two questions: name a domain whose tasks have some")
    return prompts


def flips(config: Config, prompts: Sequence[Prompt]) -> Flips:
    spec = ModelSpec.of(config.model)
    tokenizer = load_tokenizer(spec)
    bank = Bank(load_model(spec), tokenizer, slots=1, max_length=spec.max_length)
    stop, longest = load_domain(config).stop, config.trial.answer_tokens
    asked = [SampleSpec(tuple(render_prompt(tokenizer, prompt)), 0, 0.0, 1.0, longest, stop) for prompt in prompts]
    return compared(bank, asked, spec.dtype)


def compared(bank: Bank, asked: Sequence[SampleSpec], dtype: str) -> Flips:
    """The same texts written all together and each alone."""
    together = [text.ids for text in bank.sample(asked)]
    alone = []
    for number, each in enumerate(asked, 1):
        alone.append(bank.sample([each])[0].ids)
        logger.info("%s: %d of %d asked alone", dtype, number, len(asked))
    differ = [(a, b) for a, b in zip(alone, together, strict=True) if a != b]
    return Flips(dtype, len(asked), len(differ), sum(a[:1] != b[:1] for a, b in differ))


def table(found: Sequence[Flips]) -> str:
    lines = ["| precision | answers | another text in company | another first token |", "|---|---|---|---|"]
    for each in found:
        share = each.flipped / each.answers
        lines.append(f"| {each.dtype} | {each.answers} | {each.flipped} ({share:.0%}) | {each.first} |")
    return "\n".join(lines)
