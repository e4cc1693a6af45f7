"""Trials of settings, which are no run: how a directory of them is known, and which command goes on with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from seal_ray.config import Config
from seal_ray.record.journal import Journal
from seal_ray.record.rows import PlannedRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.types import UserError

STAGE = "tuning"
"""The stage in which settings are tried."""
_FOUND = "tuned.json"
"""What a tuning came to; there is none while one is under way."""


def begin(store: Store) -> None:
    """Forget what an earlier tuning here came to: more is to be tried."""
    store.delete(_FOUND)


def save(store: Store, account: Mapping[str, Any]) -> None:
    """Keep what a tuning came to."""
    store.write(_FOUND, json.dumps(account, indent=2).encode())


def verdict(store: Store) -> str:
    """What a tuning came to, in a sentence; nothing where none has ended here, or the file does not say it."""
    with suppress(FileNotFoundError, ValueError, RecursionError, KeyError, TypeError):
        return str(json.loads(store.read(_FOUND))["verdict"])
    return ""


def going_on(directory: str) -> str:
    """The command that goes on with trials of settings."""
    return f"seal-ray tune CONFIG --into {directory}"


def refuse_tuned(directory: str, config: Config) -> None:
    """Say what a directory is that holds the trials of settings, and neither rounds nor measurements.

    A config that has either is that of a run, so that nothing is read of its record.
    """
    asks = config.evaluation
    if config.run.rounds or asks.baselines or asks.samples or asks.methods or config.continual.sequences:
        return
    journal = Journal(Store(directory))
    if any(STAGE in journal.table(kind.TABLE)["stage"].to_pylist() for kind in (PlannedRow, SelfEditRow)):
        raise UserError(
            f"{directory}: holds trials of settings, by `seal-ray tune`, and no run; the command that began them goes "
            f"on with them and says what they found: `{going_on(directory)}`"
        )
