"""Holds a grader to recorded verdicts; a judge model of this machine too, as a run would have its own base judge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from seal_ray.grading.agreement import grade_records
from seal_ray.grading.judge import LocalJudge
from seal_ray.model.template import is_instruct
from seal_ray.types import Ask, Prompt, UserError

logger = logging.getLogger(__name__)

LOCAL = "local judge"
_AT_ONCE = 64
"""Prompts answered together, between two lines that say how far it is."""


def agreement_of(records: str | Path, grader: str = "offline", model: str = "", passages: int = 0) -> dict[str, float]:
    """How well a grader agrees with a record's first passages, or with all; a `local judge` is this model."""
    if bool(model) != (grader == LOCAL):
        raise UserError(f'--grader "{LOCAL}" and --model MODEL go together: a model that judges, and that judges so')
    if not model:
        return grade_records(records, grader, passages)
    return grade_records(records, LocalJudge(LocalJudge.Options(chat=is_instruct(model)), asking(model)), passages)


def asking(model: str) -> Ask:
    """What puts prompts to a model that this process holds from then on, in the precision of this machine."""
    opened = cache(lambda: _opened(model))

    async def ask(prompts: Sequence[Prompt], longest: int) -> list[str]:
        return await asyncio.to_thread(lambda: opened()(prompts, longest))

    return ask


def _opened(model: str) -> Callable[[Sequence[Prompt], int], list[str]]:
    from seal_ray.bank import Bank, SampleSpec
    from seal_ray.config import Model
    from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
    from seal_ray.model.precision import of_this_process
    from seal_ray.workers.engines.text import render_prompt

    spec = replace(ModelSpec.of(Model(path=model)), dtype=of_this_process().dtype)
    tokenizer = load_tokenizer(spec)
    bank = Bank(load_model(spec), tokenizer, slots=1)

    def replies(prompts: Sequence[Prompt], longest: int) -> list[str]:
        said: list[str] = []
        for at in range(0, len(prompts), _AT_ONCE):
            some = [tuple(render_prompt(tokenizer, each)) for each in prompts[at : at + _AT_ONCE]]
            said += (text.text for text in bank.sample([SampleSpec(each, 0, 0.0, 1.0, longest) for each in some]))
            logger.info("%d of %d prompts answered", len(said), len(prompts))
        return said

    return replies
