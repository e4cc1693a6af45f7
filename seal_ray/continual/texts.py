"""Ways that train on what earlier passages taught as well."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from seal_ray.adapters.lora import Adapter
from seal_ray.continual.base import Lesson, Likelihoods, Stand
from seal_ray.continual.plain import LastLayers, Merge
from seal_ray.types import Example, Recipe, derive_seed

POOL = 48
"""Texts of earlier passages that are learnt again beside each new one."""


class Joint(Merge):
    """All passages so far are learnt at once, from where the stream began: the ceiling. Only when all are asked."""

    def base(self, stand: Stand) -> Adapter | None:
        return stand.start

    def recipe(self, stand: Stand, recipe: Recipe) -> Recipe | None:
        if not stand.asked:
            return None
        before = chain.from_iterable(lesson.recipe.examples for lesson in stand.lessons)
        return replace(recipe, examples=(*before, *recipe.examples))

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        return self.sum(stand.start, learned)


class Replay(Merge):
    """As `merge`, with some texts of earlier passages beside the new ones."""

    def recipe(self, stand: Stand, recipe: Recipe) -> Recipe | None:
        return with_earlier(stand, recipe)


class ReplayLastLayers(LastLayers):
    """As `replay`, in the last third of the layers alone."""

    def recipe(self, stand: Stand, recipe: Recipe) -> Recipe | None:
        return super().recipe(stand, with_earlier(stand, recipe))


def with_earlier(stand: Stand, recipe: Recipe) -> Recipe:
    """What a self-edit trains, and texts of earlier passages beside it."""
    return replace(recipe, examples=(*recipe.examples, *spread(stand.lessons, POOL)))


def spread(lessons: Sequence[Lesson], most: int) -> tuple[Example, ...]:
    """Texts of earlier passages, of as many of them as there can be; others each time a passage is added."""
    seed = derive_seed("spread", len(lessons))
    drawn = [list(dict.fromkeys(lesson.recipe.examples)) for lesson in lessons]
    for number, examples in enumerate(drawn):
        random.Random(derive_seed(seed, number)).shuffle(examples)
    random.Random(seed).shuffle(drawn)
    turns = chain.from_iterable(zip_longest(*drawn))
    return tuple([example for example in turns if example is not None][:most])
