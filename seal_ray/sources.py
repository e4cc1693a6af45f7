"""Which settings name files, so that what they hold can be made part of what a run is.

class Options(BaseModel):
    train: SourcePath      # a file or folder that decides results: its content belongs to the run
    cache: Practical[str]  # how the work is done, not what comes of it: no part of what a run is
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


class _Mark:
    """What an option is to a run's identity."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


READS, PRACTICAL = _Mark("reads"), _Mark("practical")
SourcePath = Annotated[str, READS]
"""An option that names a file, a folder or a dataset whose content decides results; empty for none."""
Practical = Annotated[T, PRACTICAL]
"""An option that decides how something is done and not what comes of it."""


def marked(options: Any, mark: _Mark) -> Iterator[str]:
    """Names of the fields of an Options model, or of one's instance, that carry a mark."""
    model = options if isinstance(options, type) else type(options)
    if issubclass(model, BaseModel):
        yield from (name for name, field in model.model_fields.items() if mark in field.metadata)


def source_paths(options: Any) -> dict[str, str]:
    """What an instance's marked fields name, where they name something."""
    return {name: value for name in marked(options, READS) if (value := str(getattr(options, name)))}
