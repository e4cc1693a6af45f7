"""The seam between a sampler actor and whatever generates its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from seal_ray.types import Completion, SampleRequest

if TYPE_CHECKING:
    from seal_ray.adapters.lora import Adapter


class Engine(Protocol):
    """Writes completions under one policy version at a time. All calls come from one event loop."""

    name: str

    async def sample(self, request: SampleRequest) -> Completion:
        """One completion of the policy served, or of the untouched base, which is policy 0 and always there.

        Many calls are in flight at once; the engine batches them as it can.
        The text depends on the request alone, whatever runs beside it. `DataError` when the request
        itself cannot be served (a prompt longer than the model's context).
        """
        ...

    async def set_policy(self, version: int, adapter: Adapter | None) -> None:
        """Serve this version from now on: the untouched base, or the base plus one adapter.

        Requests in flight are finished first; nothing computed under the old version is reused.
        """
        ...

    async def log_probs(self, ids: Sequence[int]) -> list[float]:
        """Log-probability of each token after the first, under the policy: what the canary compares."""
        ...

    async def close(self) -> None: ...
