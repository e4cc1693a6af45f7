"""What a failed call means: the worker went, its node went, or the call itself is at fault."""

from __future__ import annotations

from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    ObjectLostError,
    RayActorError,
    RaySystemError,
    RayTaskError,
    WorkerCrashedError,
)

LOST = (RayActorError, NodeDiedError, ObjectLostError, RaySystemError, WorkerCrashedError)
"""Errors of the infrastructure: the call is given to another worker, without blame."""


class Poisoned(Exception):
    """A call that killed its worker again and again, running alone."""


class WorkerLost(Exception):
    """Raised by an actor that cannot go on (its device failed): the call is retried elsewhere."""


def unwrap(error: BaseException) -> BaseException:
    """The error a worker raised, with the worker's traceback kept as its cause."""
    if isinstance(error, RayTaskError):
        cause = error.cause if isinstance(error.cause, Exception) else RuntimeError(str(error))
        cause.__cause__ = error
        return cause
    return error


def node_died(error: BaseException) -> bool:
    """Whether the machine went, for which no call on it is to blame."""
    return isinstance(error, NodeDiedError) or (isinstance(error, ActorDiedError) and "node has died" in str(error))


def brief(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]
