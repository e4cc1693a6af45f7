"""The micro-world behind a gate: trials are graded for as long as a file allows, so that a run waits to be caught."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.types import Grade, Task


class Gate:
    """What the test holds: how many more trials a driver may grade from its start on, and whether one waits."""

    def __init__(self, path: Path) -> None:
        self._allowed, self._held = path, path.with_suffix(".held")

    @property
    def arguments(self) -> list[str]:
        """For the command line of a run that is to wait at this gate."""
        return ["--domain.name", "tests.gated:Gated", "--domain.options", json.dumps({"gate": str(self._allowed)})]

    def allow(self, trials: int) -> None:
        self._held.unlink(missing_ok=True)
        fresh = self._allowed.with_suffix(".fresh")
        fresh.write_text(str(trials))
        fresh.replace(self._allowed)

    def open(self) -> None:
        self.allow(1 << 30)

    @property
    def holds(self) -> bool:
        """Whether a driver waits that has graded all that was allowed."""
        return self._held.exists()

    async def passed(self, graded: int) -> None:
        while graded >= int(self._allowed.read_text()):
            self._held.touch()
            await asyncio.sleep(0.02)


class Gated(MicroWorld):
    @dataclass(frozen=True, kw_only=True)
    class Options(MicroWorld.Options):
        gate: str

    def __init__(self, options: Options, *more: Any) -> None:
        super().__init__(options, *more)
        self._gate, self._graded = Gate(Path(options.gate)), 0

    async def grade(self, task: Task, answers: Sequence[str]) -> Grade:
        number, self._graded = self._graded, self._graded + 1
        await self._gate.passed(number)
        return await super().grade(task, answers)
