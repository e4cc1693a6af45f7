"""The words of the project, as frozen data that crosses actor boundaries: without torch or Ray, so cheap to import."""

from seal_ray.types.content import ADDED, content_key, content_of, derive_seed
from seal_ray.types.errors import DataError, Failure, FailureKind, UserError
from seal_ray.types.policies import BASE, AdapterRef, Policy
from seal_ray.types.prompts import (
    Ask,
    Chat,
    Completion,
    Message,
    Prompt,
    SampleRequest,
    is_prompt,
    last_turn,
    plain_text,
)
from seal_ray.types.tasks import Grade, Question, SelfEdit, Task, is_share
from seal_ray.types.training import (
    ALL_LINEAR,
    Bounds,
    Example,
    FinetuneSpec,
    LoraSpec,
    ObjectiveSpec,
    OneOrMore,
    OptimSpec,
    Recipe,
)
from seal_ray.types.trials import Outcome, Trial

__all__ = [
    "ADDED",
    "ALL_LINEAR",
    "BASE",
    "AdapterRef",
    "Ask",
    "Bounds",
    "Chat",
    "Completion",
    "DataError",
    "Example",
    "Failure",
    "FailureKind",
    "FinetuneSpec",
    "Grade",
    "LoraSpec",
    "Message",
    "ObjectiveSpec",
    "OneOrMore",
    "OptimSpec",
    "Outcome",
    "Policy",
    "Prompt",
    "Question",
    "Recipe",
    "SampleRequest",
    "SelfEdit",
    "Task",
    "Trial",
    "UserError",
    "content_key",
    "content_of",
    "derive_seed",
    "is_prompt",
    "is_share",
    "last_turn",
    "plain_text",
]
