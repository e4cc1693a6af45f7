"""Self-adapting language models on Ray. The names below are found when they are first used; none is imported before.

import seal_ray

summary = seal_ray.run(seal_ray.load("jobs/microworld.toml"), seal_ray.progress())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seal_ray.bank import Adapter, Bank, BankSession, Job, JobResult, Objective, SampleSpec, TokenText
    from seal_ray.config import Config, load
    from seal_ray.domains.base import Baseline, Domain
    from seal_ray.events import Advanced, Ended, Event, Measured, Observer, StageBegan, UpdateTrained
    from seal_ray.grading.base import Grader, Item
    from seal_ray.learning.learn import learn
    from seal_ray.loop.run import run
    from seal_ray.observe.progress import progress
    from seal_ray.record.journal import Journal
    from seal_ray.record.rows import OutcomeRow, PolicyRow
    from seal_ray.record.storage import Store
    from seal_ray.record.summary import summarize
    from seal_ray.report import write_report
    from seal_ray.selection.rules import Candidate, Rule
    from seal_ray.sources import PassagePath, SourcePath
    from seal_ray.types import (
        Example,
        FinetuneSpec,
        Grade,
        LoraSpec,
        OptimSpec,
        Outcome,
        Question,
        Recipe,
        SelfEdit,
        Task,
        UserError,
    )
    from seal_ray.update.base import Found, UpdateRule

__version__ = "0.2.0"

_NAMES = {
    "bank": ("Adapter", "Bank", "BankSession", "Job", "JobResult", "Objective", "SampleSpec", "TokenText"),
    "config": ("Config", "load"),
    "domains.base": ("Baseline", "Domain"),
    "events": ("Advanced", "Ended", "Event", "Measured", "Observer", "StageBegan", "UpdateTrained"),
    "grading.base": ("Grader", "Item"),
    "learning.learn": ("learn",),
    "loop.run": ("run",),
    "observe.progress": ("progress",),
    "record.journal": ("Journal",),
    "record.rows": ("OutcomeRow", "PolicyRow"),
    "record.storage": ("Store",),
    "record.summary": ("summarize",),
    "report": ("write_report",),
    "selection.rules": ("Candidate", "Rule"),
    "sources": ("PassagePath", "SourcePath"),
    "types": (
        *("Example", "FinetuneSpec", "Grade", "LoraSpec", "OptimSpec", "Outcome"),
        *("Question", "Recipe", "SelfEdit", "Task", "UserError"),
    ),
    "update.base": ("Found", "UpdateRule"),
}
"""The public names, by the module that has them."""
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Adapter",
    "Advanced",
    "Bank",
    "BankSession",
    "Baseline",
    "Candidate",
    "Config",
    "Domain",
    "Ended",
    "Event",
    "Example",
    "FinetuneSpec",
    "Found",
    "Grade",
    "Grader",
    "Item",
    "Job",
    "JobResult",
    "Journal",
    "LoraSpec",
    "Measured",
    "Objective",
    "Observer",
    "OptimSpec",
    "Outcome",
    "OutcomeRow",
    "PassagePath",
    "PolicyRow",
    "Question",
    "Recipe",
    "Rule",
    "SampleSpec",
    "SelfEdit",
    "SourcePath",
    "StageBegan",
    "Store",
    "Task",
    "TokenText",
    "UpdateRule",
    "UpdateTrained",
    "UserError",
    "__version__",
    "learn",
    "load",
    "progress",
    "run",
    "summarize",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
