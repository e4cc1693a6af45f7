"""The pulse of a worker: how many passes its model has made, told whatever the worker is at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

GROUP = "pulse"
M = TypeVar("M", bound=Callable[..., Any])


def on_its_own_thread(method: M) -> M:
    """Mark a method of an actor to be answered whatever the actor is at; what `ray.method` does, without Ray."""
    method.__ray_concurrency_group__ = GROUP  # type: ignore[attr-defined]
    return method


class Beating:
    """An actor that tells at any time how many passes its model has made. Start it as `actor(cls, ...)`."""

    _beats = 0

    def beat(self, *_: Any) -> None:
        """Count a pass; called for every one, from whichever thread it runs in."""
        self._beats += 1

    def feel(self, model: Any) -> None:
        """Have every pass of this model be a beat."""
        model.get_input_embeddings().register_forward_pre_hook(self.beat)

    @on_its_own_thread
    async def pulse(self) -> int:
        return self._beats
