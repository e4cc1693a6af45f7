"""What a run's work is done with."""

from __future__ import annotations

from dataclasses import dataclass, field

from seal_ray.config import Config
from seal_ray.domains.base import Domain
from seal_ray.events import Events
from seal_ray.loop.place import Beside
from seal_ray.record.journal import Journal
from seal_ray.rundir.keys import Names
from seal_ray.workers.base import Cluster


@dataclass(frozen=True)
class Workshop:
    """Workers that are up, what they are asked by, and the record in which all is looked up before it is done."""

    config: Config
    domain: Domain
    cluster: Cluster
    journal: Journal
    events: Events
    names: Names = field(default_factory=Names)
    beside: Beside = field(default_factory=Beside)
