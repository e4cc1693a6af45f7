"""The micro-world, where nobody grades once a self-edit was written, while the variable names a file: a run comes that
far and no further."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.types import Grade, Recipe, Task

HELD_AT = "TEST_HELD_AT"


class Held(MicroWorld):
    _written = False

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        self._written = True
        return super().recipe(task, completion, seed)

    async def grade(self, task: Task, answers: Sequence[str]) -> Grade:
        if self._written and (at := os.environ.get(HELD_AT)):
            Path(at).touch()
            await asyncio.Event().wait()
        return await super().grade(task, answers)
