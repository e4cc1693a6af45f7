"""What a failed call means: whose fault it is, and what is done about it. Every error of Ray's has its place here."""

from __future__ import annotations

from enum import Enum

from ray import exceptions as ray_errors
from ray.exceptions import ActorDiedError, RayTaskError

from seal_ray.plain import first_line
from seal_ray.types import UserError
from seal_ray.workers.errors import WorkerLost


class Fate(Enum):
    """What becomes of a call that ended in an error."""

    WORKER = (
        "its worker went: another gets the call, and the blame is its own if that happens to it alone again and again"
    )
    MACHINE = "its machine or the network went, for which no call is to blame: another worker gets it"
    SHORT = "memory or disk was short: the call is made again after a pause, with fewer beside it"
    STOP = "no other worker would fare better, and this program cannot fix it: the run stops with one line"
    OURS = "the call's own error: raised as it is"


FATES: dict[type[BaseException], Fate] = {
    ray_errors.RayActorError: Fate.WORKER,
    ray_errors.ActorDiedError: Fate.WORKER,
    ray_errors.ActorUnavailableError: Fate.WORKER,
    ray_errors.WorkerCrashedError: Fate.WORKER,
    ray_errors.RaySystemError: Fate.WORKER,
    ray_errors.RayChannelError: Fate.WORKER,
    ray_errors.RayChannelTimeoutError: Fate.WORKER,
    ray_errors.RayCgraphCapacityExceeded: Fate.WORKER,
    ray_errors.RayDirectTransportError: Fate.WORKER,
    ray_errors.StreamingGeneratorReplayInconsistentError: Fate.WORKER,
    ray_errors.RuntimeEnvSetupError: Fate.WORKER,  # a busy node is slow to make one; starting is tried a few times
    ray_errors.TaskCancelledError: Fate.WORKER,
    ray_errors.AsyncioActorExit: Fate.WORKER,
    ray_errors.GetTimeoutError: Fate.WORKER,
    ray_errors.NodeDiedError: Fate.MACHINE,
    ray_errors.LocalRayletDiedError: Fate.MACHINE,
    ray_errors.RpcError: Fate.MACHINE,
    ray_errors.ObjectLostError: Fate.MACHINE,
    ray_errors.ObjectFetchTimedOutError: Fate.MACHINE,
    ray_errors.ObjectReconstructionFailedError: Fate.MACHINE,
    ray_errors.OwnerDiedError: Fate.MACHINE,
    ray_errors.ReferenceCountingAssertionError: Fate.MACHINE,
    ray_errors.ObjectFreedError: Fate.MACHINE,
    ray_errors.PlasmaObjectNotAvailable: Fate.MACHINE,
    ray_errors.OutOfMemoryError: Fate.SHORT,
    ray_errors.ObjectStoreFullError: Fate.SHORT,
    ray_errors.OutOfDiskError: Fate.SHORT,
    ray_errors.PendingCallsLimitExceeded: Fate.SHORT,
    ray_errors.AuthenticationError: Fate.STOP,
    ray_errors.ActorUnschedulableError: Fate.STOP,
    ray_errors.TaskUnschedulableError: Fate.STOP,
    ray_errors.ActorPlacementGroupRemoved: Fate.STOP,
    ray_errors.TaskPlacementGroupRemoved: Fate.STOP,
    ray_errors.RayError: Fate.OURS,
    ray_errors.RayTaskError: Fate.OURS,  # unless what it carries has a place of its own
    ray_errors.UserCodeException: Fate.OURS,
    ray_errors.CrossLanguageError: Fate.OURS,
    ray_errors.UnserializableException: Fate.OURS,
    ray_errors.OufOfBandObjectRefSerializationException: Fate.OURS,
    ray_errors.ObjectRefStreamEndOfStreamError: Fate.OURS,
    ray_errors.ActorAlreadyExistsError: Fate.OURS,
    ray_errors.ActorHandleNotFoundError: Fate.OURS,
}


FATES[WorkerLost] = Fate.WORKER


def fate(error: BaseException) -> Fate:
    """What is done about an error. One that a worker raised is judged by its cause, which may be one of Ray's."""
    if isinstance(error, RayTaskError):
        return fate(error.cause) if isinstance(error.cause, BaseException) else Fate.OURS
    if isinstance(error, ActorDiedError) and "node has died" in str(error):
        return Fate.MACHINE
    return next((FATES[kind] for kind in type(error).__mro__ if kind in FATES), Fate.OURS)


def survivable(error: BaseException) -> bool:
    """Whether the call can be made again on another worker."""
    return fate(error) in (Fate.WORKER, Fate.MACHINE, Fate.SHORT)


def unwrap(error: BaseException) -> BaseException:
    """The error to raise: a worker's own, with its traceback as the cause, or the line that the run stops with."""
    if fate(error) is Fate.STOP:
        return UserError(f"Ray cannot run the workers: {brief(error)}")
    if isinstance(error, RayTaskError):
        cause = error.cause if isinstance(error.cause, Exception) else RuntimeError(str(error))
        cause.__cause__ = error
        return cause
    return error


def brief(error: BaseException) -> str:
    """The first line of an error; of one that a worker raised, without what Ray wraps around it."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause
    if isinstance(error, ActorDiedError):
        return "its node has died" if fate(error) is Fate.MACHINE else "its process ended"
    return first_line(error)
