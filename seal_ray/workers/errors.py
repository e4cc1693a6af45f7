"""Errors of workers that are known without Ray."""

from __future__ import annotations


class Poisoned(Exception):
    """A call that killed its worker again and again, running alone."""


class WorkerLost(Exception):
    """A worker that cannot go on (its device failed), or was given up as hung: the call is made elsewhere."""
