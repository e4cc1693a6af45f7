"""The tasks of a run, as its config draws them from its domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seal_ray.domains.base import Domain
from seal_ray.types import Task, derive_seed

if TYPE_CHECKING:
    from seal_ray.config import Config


def held_out_tasks(config: Config, domain: Domain) -> Sequence[Task]:
    """The tasks that a run is measured on and never learns from."""
    return domain.tasks("test", config.domain.test or None, config.run.seed)


def training_tasks(config: Config, domain: Domain, round_: int) -> Sequence[Task]:
    """A round's training tasks; the same ones each round, unless the config wants fresh ones."""
    fresh = round_ if config.domain.fresh else 1
    return domain.tasks("train", config.domain.train or None, derive_seed(config.run.seed, "round", fresh))
