"""Errors of workers that are known without Ray."""

from __future__ import annotations

from seal_ray.types import UserError


class Poisoned(Exception):
    """A call that killed its worker again and again, running alone."""


class WorkerLost(Exception):
    """A worker that cannot go on (its device failed), or was given up as hung: the call is made elsewhere."""


def update_failed(reason: str) -> UserError:
    """The error that ends a run whose update failed: another try would fail in the same way."""
    advice = "; take a smaller update.optim.lr, in another --run.dir" if "not finite" in reason else ""
    return UserError(f"the update failed: {reason}{advice}")
