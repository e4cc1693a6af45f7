"""Many LoRA adapters trained and queried on one frozen base, in one pass. Pure torch; knows neither Ray nor self-edits.

`Adapter`, `Job` and the other plain data import cheaply; `Bank`, `BankSession` and the objectives bring in torch when
they are first touched.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seal_ray.adapters.lora import Adapter
from seal_ray.bank.job import Job, JobResult, SampledText, SampleSpec, TokenText
from seal_ray.bank.rows import Distributions, Objective

if TYPE_CHECKING:
    from seal_ray.bank.bank import Bank
    from seal_ray.bank.objectives import DPO, KL, CrossEntropy, Distilled, PolicyGradient, SoftTargets
    from seal_ray.bank.session import BankSession

__all__ = [
    "DPO",
    "KL",
    "Adapter",
    "Bank",
    "BankSession",
    "CrossEntropy",
    "Distilled",
    "Distributions",
    "Job",
    "JobResult",
    "Objective",
    "PolicyGradient",
    "SampleSpec",
    "SampledText",
    "SoftTargets",
    "TokenText",
]

_WITH_TORCH = {"Bank": "bank", "BankSession": "session"} | dict.fromkeys(
    ("CrossEntropy", "DPO", "Distilled", "KL", "PolicyGradient", "SoftTargets"), "objectives"
)


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        return getattr(import_module(f"seal_ray.bank.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
