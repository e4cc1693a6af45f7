"""Verdicts on answers: exact match, overlap, a learnt verdict that needs no network, and judge models."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from seal_ray import plugins
from seal_ray.grading.base import AsksBase, Connected, Grader, Item, Priced, grader_of, judged
from seal_ray.types import Ask

logger = logging.getLogger(__name__)

GRADERS = {
    "exact": "seal_ray.grading.base:Exact",
    "f1": "seal_ray.grading.base:F1",
    "offline": "seal_ray.grading.offline:Offline",
    "judge": "seal_ray.grading.judge:Judge",
    "local judge": "seal_ray.grading.judge:LocalJudge",
}


def load(name: str, options: Mapping[str, Any] | None = None) -> Grader:
    """The grader of that name, or a user's own as `package.module:Thing`.

    A grader that has an `Options` class is made from one, any other from keyword arguments.
    """
    thing, wrong = plugins.find("grading.name", name, GRADERS), f"grading.options do not fit grader {name!r}"
    if hasattr(thing, "Options"):
        grader = plugins.made(wrong, thing, plugins.options("grading.options", thing.Options, options or {}))
    else:
        grader = plugins.made(wrong, thing, **options or {})
    plugins.must_have("grading.name", name, grader, (), "seal_ray/grading/base.py", "grade")
    return grader  # type: ignore[no-any-return]


@asynccontextmanager
async def at_work(grader: Grader | None, ask: Ask) -> AsyncIterator[None]:
    """A grader during a run: one that queries the run's own base is given it, and connections are closed after."""
    if isinstance(grader, AsksBase):
        grader.connect(ask)
    try:
        yield
    finally:
        if isinstance(grader, Connected):
            await grader.close()
        if isinstance(grader, Priced):
            logger.info("the judge: %s", ", ".join(f"{name} {value:g}" for name, value in grader.cost().items()))


__all__ = ["GRADERS", "Grader", "Item", "at_work", "grader_of", "judged", "load"]
