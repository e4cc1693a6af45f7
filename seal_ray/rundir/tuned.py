"""Trials of settings, which are no run: how a directory of them is known, and which command goes on with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from seal_ray.config import Config
from seal_ray.record.journal import Journal
from seal_ray.record.rows import PlannedRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import TUNED, begun, recorded_config
from seal_ray.types import UserError

STAGE = "tuning"
"""The stage in which settings are tried."""


def begin(store: Store) -> None:
    """Say that settings are tried here, and forget what an earlier tuning came to: more is to be tried.

    So nobody takes what has no rows yet for a run.
    """
    store.write(TUNED, b"{}")


def save(store: Store, account: Mapping[str, Any]) -> None:
    """Keep what a tuning came to."""
    store.write(TUNED, json.dumps(account, indent=2).encode())


def verdict(store: Store) -> str | None:
    """What a tuning came to, in a sentence; empty where none has ended here, or the file does not say it.

    None where there is no such file: this is a run, or trials of settings by a version that wrote none.
    """
    try:
        return str(json.loads(store.read(TUNED))["verdict"])
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""


def going_on(directory: str) -> str:
    """The command that goes on with trials of settings."""
    return f"seal-ray tune CONFIG --into {directory}"


def config_of_run(directory: str) -> Config:
    """The config of the run that a directory holds; one that holds trials of settings is refused."""
    config = recorded_config(directory)
    refuse_tuned(directory, config)
    return config


def refuse_tuned(directory: str, config: Config | None = None) -> None:
    """Say what a directory is that holds the trials of settings, and neither rounds nor measurements.

    A config that has either is that of a run, so that nothing is read of its record. Without one it is the directory's
    own, and where that is none nothing is said.
    """
    if config is None:
        if (found := begun(directory)) is None:
            return
        config = found.config
    asks = config.evaluation
    if config.run.rounds or asks.baselines or asks.samples or asks.methods or config.continual.sequences:
        return
    store = Store(directory)
    journal = Journal(store)
    if store.exists(TUNED) or any(
        STAGE in journal.table(kind.TABLE)["stage"].to_pylist() for kind in (PlannedRow, SelfEditRow)
    ):
        raise UserError(
            f"{directory}: holds trials of settings, by `seal-ray tune`, and no run; the command that began them goes "
            f"on with them and says what they found: `{going_on(directory)}`"
        )
