"""What cannot be used, and what its user can fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class DataError(ValueError):
    """This self-edit, text or task cannot be used; the message says which and why. Recorded, not retried."""


class UserError(ValueError):
    """Something the user can fix: one line that says what, where and what to do. Exit code 2."""


FailureKind = Literal["infrastructure", "data", "bug"]


@dataclass(frozen=True)
class Failure:
    """What went wrong, classified where it happened.

    infrastructure: a worker, node or network was lost; retried elsewhere. data: this input cannot be
    parsed or trained on; recorded, never retried. bug: stops the run.
    """

    kind: FailureKind
    reason: str
