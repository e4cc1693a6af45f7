"""The seam between a sampler actor and whatever generates its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from seal_ray.types import AdapterRef, Completion, SampleRequest

if TYPE_CHECKING:
    from seal_ray.adapters.lora import Adapter


class Engine(Protocol):
    """Writes completions under the policies it holds. All calls come from one event loop."""

    name: str

    async def sample(self, request: SampleRequest) -> Completion:
        """One completion of a policy that is held, or of the untouched base, which always is.

        Many calls are in flight at once; the engine batches them as it can.
        The text depends on the request alone, whatever runs beside it. `DataError` when the request
        itself cannot be served (a prompt longer than the model's context).
        """
        ...

    async def hold(self, *adapters: Adapter) -> None:
        """Serve these from now on, and no others; requests in flight are finished, whatever they are under.

        Nothing computed under one adapter is reused under another.
        """
        ...

    async def log_probs(self, ids: Sequence[int], adapter: AdapterRef) -> list[float]:
        """Log-probability of each token after the first, under an adapter that is held: what the canary compares."""
        ...

    async def close(self) -> None: ...
