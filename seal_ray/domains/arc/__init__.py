"""ARC, the few-shot domain: the self-edit is not text to learn but a decision on how to train."""

from seal_ray.domains.arc.domain import Arc
from seal_ray.domains.arc.files import ArcTask, load_tasks, submission
from seal_ray.domains.arc.views import Answered, describe

__all__ = ["Answered", "Arc", "ArcTask", "describe", "load_tasks", "submission"]
