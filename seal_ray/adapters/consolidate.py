"""How what was learnt enters the policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from seal_ray.adapters.lora import Adapter
from seal_ray.adapters.merge import total


@dataclass(frozen=True)
class Consolidated:
    """A policy's next adapter."""

    adapter: Adapter | None
    error: float = 0.0
    """The norm of what was lost over the norm of the whole."""


class Consolidator(Protocol):
    """Makes a policy's next adapter of its present one and what was trained on top of it."""

    def consolidate(self, head: Adapter | None, learned: Adapter | None) -> Consolidated: ...


@dataclass(frozen=True)
class Stack:
    """Both add up, exactly, to one adapter of summed rank, which is compressed where it exceeds `max_rank`."""

    max_rank: int = 0
    """0 never compresses."""

    def consolidate(self, head: Adapter | None, learned: Adapter | None) -> Consolidated:
        return Consolidated(*total((head, learned), self.max_rank))
