"""Ways that train on what earlier passages taught as well."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from seal_ray.adapters.lora import Adapter
from seal_ray.continual.base import Keeps, Lesson, Likelihoods, Stand
from seal_ray.continual.plain import LastLayers, Merge
from seal_ray.types import Example, Recipe, derive_seed

POOL, PRACTISED = 48, 24
"""Texts of earlier passages, and answers to what was known before, that are learnt again beside each new one."""

BETWEEN, REVIEW = 24, 10
"""Where all earlier texts are learnt again at every tenth passage, how many are beside each of those between."""

KL = 1.0
"""Weight, beside the loss of what is new, of how far what is predicted of other texts moves."""


class Joint(Merge):
    """All passages so far are learnt at once, from where the stream began: the ceiling. Only when all are asked."""

    keeps: Keeps = "mixed"

    def base(self, stand: Stand) -> Adapter | None:
        return stand.start

    def recipe(self, stand: Stand, recipe: Recipe | None) -> Recipe | None:
        recipes = [*(lesson.recipe for lesson in stand.lessons), *([recipe] if recipe else [])]
        if not stand.asked or not recipes:
            return None
        return replace(recipes[-1], examples=tuple(chain.from_iterable(each.examples for each in recipes)))

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        return await self.total(stand.start, learned)


class Replay(Merge):
    """As `merge`, with some texts of earlier passages beside the new ones."""

    def recipe(self, stand: Stand, recipe: Recipe | None) -> Recipe | None:
        return with_earlier(stand, recipe) if recipe else None


class ReplayLastLayers(LastLayers):
    """As `replay`, in the last third of the layers alone."""

    def recipe(self, stand: Stand, recipe: Recipe | None) -> Recipe | None:
        return super().recipe(stand, with_earlier(stand, recipe) if recipe else None)


class Review(LastLayers):
    """As `replay-last-layers` with half as many texts, and at every tenth passage with all of them."""

    keeps: Keeps = "mixed"  # what a review trains is of all passages

    def recipe(self, stand: Stand, recipe: Recipe | None) -> Recipe | None:
        if recipe is None:
            return None
        due = (len(stand.lessons) + 1) % REVIEW == 0
        return super().recipe(stand, with_earlier(stand, recipe, None if due else BETWEEN))


class Rehearse(ReplayLastLayers):
    """As `replay-last-layers`, with answers to what was known before beside the texts as well."""

    practises = True

    def recipe(self, stand: Stand, recipe: Recipe | None) -> Recipe | None:
        if recipe is None:
            return None
        return super().recipe(stand, replace(recipe, examples=(*recipe.examples, *some(stand))))


class Anchored(LastLayers):
    """As `last-layers`, held to what the policy predicts now, of earlier texts and of what was known before."""

    practises = True

    def recipe(self, stand: Stand, recipe: Recipe | None) -> Recipe | None:
        if recipe is None:
            return None
        held = (*spread(stand.lessons, POOL), *some(stand))
        return super().recipe(stand, replace(recipe, anchors=held, kl_coef=KL if held else 0.0))


def some(stand: Stand) -> tuple[Example, ...]:
    """As many answers to what was known before as are practised at a time; others each time a passage is added."""
    drawn = sorted(stand.practised, key=lambda example: derive_seed("practised", len(stand.lessons), example.prompt))
    return tuple(drawn[:PRACTISED])


def with_earlier(stand: Stand, recipe: Recipe, most: int | None = POOL) -> Recipe:
    """What a self-edit trains, and texts of earlier passages beside it: at most so many, or all."""
    return replace(recipe, examples=(*recipe.examples, *spread(stand.lessons, most)))


def spread(lessons: Sequence[Lesson], most: int | None) -> tuple[Example, ...]:
    """Texts of earlier passages, of as many of them as there can be; others each time a passage is added."""
    seed = derive_seed("spread", len(lessons))
    drawn = [list(dict.fromkeys(lesson.recipe.examples)) for lesson in lessons]
    for number, examples in enumerate(drawn):
        random.Random(derive_seed(seed, number)).shuffle(examples)
    random.Random(seed).shuffle(drawn)
    turns = chain.from_iterable(zip_longest(*drawn))
    return tuple([example for example in turns if example is not None][:most])
