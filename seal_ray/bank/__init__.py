"""Many LoRA adapters trained and queried on one frozen base, in one pass. Pure torch; knows neither Ray nor self-edits.

`Adapter`, `Job` and the other plain data import cheaply; `Bank` brings in torch when it is first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seal_ray.bank.adapter import Adapter
from seal_ray.bank.job import Job, JobResult, SampledText, SampleSpec, TokenText

if TYPE_CHECKING:
    from seal_ray.bank.bank import Bank

__all__ = ["Adapter", "Bank", "Job", "JobResult", "SampleSpec", "SampledText", "TokenText"]


def __getattr__(name: str) -> Any:
    if name == "Bank":
        from seal_ray.bank.bank import Bank

        return Bank
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
