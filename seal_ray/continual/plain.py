"""Ways that add what was learnt to what was there: all of it, none of it, or in some layers alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace

from seal_ray.adapters.lora import Adapter
from seal_ray.adapters.merge import total
from seal_ray.config import Config
from seal_ray.continual.base import Keeps, Lesson, Likelihoods, Stand
from seal_ray.model.architecture import HEAD, module_paths
from seal_ray.model.kinds import is_named
from seal_ray.types import ALL_LINEAR, Recipe, UserError


class Merge:
    """Each passage is learnt on top of all before, and added to them: the paper's way."""

    practises = False
    keeps: Keeps = "stacked"

    def __init__(self, config: Config) -> None:
        self._max_rank = config.update.max_rank

    def base(self, stand: Stand) -> Adapter | None:
        return stand.head

    def recipe(self, stand: Stand, recipe: Recipe | None) -> Recipe | None:
        return recipe

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        return await self.total(stand.head, learned)

    def lessons_for(self, questions: Sequence[str], lessons: Sequence[Lesson]) -> list[int | None]:
        return [None] * len(questions)

    async def total(self, *adapters: Adapter | None) -> Adapter | None:
        """`sum`, beside the event loop: of a large model's adapters it takes seconds."""
        return await asyncio.to_thread(self.sum, *adapters)

    def sum(self, *adapters: Adapter | None) -> Adapter | None:
        """All together as one, of no larger rank than `update.max_rank` where that says one."""
        return total(adapters, self._max_rank)[0]


class Nothing(Merge):
    """Nothing is learnt: what all others are held against."""

    def recipe(self, stand: Stand, recipe: Recipe | None) -> Recipe | None:
        return None


class LastLayers(Merge):
    """As `merge`, in the last third of the layers alone."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._paths = _last_third(config.model.path)

    def recipe(self, stand: Stand, recipe: Recipe | None) -> Recipe | None:
        if recipe is None or recipe.lora is None:
            return recipe
        wanted = recipe.lora.targets
        targets = tuple(path for path in self._paths if any(_names(target, path) for target in wanted))
        return replace(recipe, lora=replace(recipe.lora, targets=targets)) if targets else recipe


def _last_third(model: str) -> list[str]:
    """The linear modules of the last third of a model's layers, at least one, by their whole paths."""
    numbered = {path: int(found[1]) for path in module_paths(model)[0] if (found := re.search(r"\.(\d+)\.", path))}
    if not numbered:
        raise UserError(
            f'continual.ways "last-layers" reads the names of layers from the files of {model}, which are not on this '
            "machine: download it, or name its folder as model.path"
        )
    layers = max(numbered.values()) + 1
    return [path for path, layer in numbered.items() if layer >= layers - max(1, round(layers / 3))]


def _names(target: str, path: str) -> bool:
    """Whether an adapter's target names a module, as PEFT matches them."""
    return path.rpartition(".")[2] != HEAD if target == ALL_LINEAR else is_named(path, target)
