"""Every error that Ray can raise has its place, and what is done about each follows from it."""

from __future__ import annotations

import inspect

import pytest
import ray.exceptions
from ray.exceptions import RayError, RayTaskError

from seal_ray.types import UserError
from seal_ray.workers.errors import WorkerLost
from seal_ray.workers.failures import FATES, Fate, brief, fate, survivable, unwrap

KINDS = [
    kind
    for _, kind in sorted(inspect.getmembers(ray.exceptions, inspect.isclass))
    if issubclass(kind, BaseException) and kind.__module__ == "ray.exceptions"
]


def raised_by_a_worker(cause: Exception) -> RayTaskError:
    return RayTaskError("run_trial", "Traceback ...\n", cause)


def test_every_exception_that_ray_has_is_placed() -> None:
    assert RayError in KINDS
    assert [kind.__name__ for kind in KINDS if kind not in FATES] == []


def test_an_exception_that_ray_adds_later_falls_to_the_place_of_its_kind() -> None:
    class NewKindOfDeath(ray.exceptions.ActorDiedError):
        pass

    class Unheard(RayError):
        pass

    assert fate(NewKindOfDeath()) is Fate.WORKER
    assert fate(Unheard("of")) is Fate.OURS


@pytest.mark.parametrize("kind", [ray.exceptions.OutOfMemoryError, ray.exceptions.OutOfDiskError])
def test_a_shortage_is_the_machines_whether_ray_says_so_or_a_worker_that_met_it(kind: type[Exception]) -> None:
    assert fate(kind("memory on the node was 95 % used")) is Fate.SHORT
    assert fate(raised_by_a_worker(kind("memory on the node was 95 % used"))) is Fate.SHORT


def test_what_a_worker_raises_of_its_own_is_raised_as_it_was() -> None:
    error = raised_by_a_worker(KeyError("a bug"))
    assert not survivable(error)
    assert isinstance(unwrap(error), KeyError)
    assert fate(raised_by_a_worker(WorkerLost("the device is gone"))) is Fate.WORKER
    assert brief(raised_by_a_worker(WorkerLost("the device is gone"))) == "the device is gone"


def test_what_nobody_here_can_mend_is_one_line() -> None:
    stopped = unwrap(ray.exceptions.AuthenticationError("the token is wrong\nand more"))
    assert isinstance(stopped, UserError)
    assert "the token is wrong" in str(stopped)
    assert "\n" not in str(stopped)
