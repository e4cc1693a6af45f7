"""Has the machine of the first trainer say in which precision a run is to compute: once in the run's life."""

from __future__ import annotations

import logging
from typing import Any

from seal_ray.config import IN_PROCESS, Config
from seal_ray.model.precision import Precision, of_this_process

logger = logging.getLogger(__name__)

_LOOK, _LONG = 10.0, 60.0
"""Seconds between two looks, and after which it is said that a machine which has the room does not get to it."""


def of_first_trainer(config: Config) -> Precision:
    """The precision of the machine that the first trainer would be on: one of Ray's, or this process's."""
    if config.workers.address == IN_PROCESS:
        return of_this_process()
    import ray

    from seal_ray.workers.cluster import threads_of
    from seal_ray.workers.ray_connection import connect
    from seal_ray.workers.room import Need, lack, machines, refuse_what_never_fits

    alone, needs = connect(config), Need.all_of(config)
    if alone:
        refuse_what_never_fits(needs, machines()[0])
    need, waited = needs[0], 0.0
    taken: dict[str, Any] = {"num_cpus": need.cpus, "num_gpus": need.gpus, "runtime_env": threads_of(need.cpus)}
    answer = ray.remote(of_this_process).options(**taken).remote()
    while not ray.wait([answer], timeout=_LOOK)[0]:
        waited += _LOOK
        found = machines()
        if waited % _LONG == 0 or (waited == _LOOK and not any(map(need.fits, found))):
            logger.warning("%s", lack(need, found))
    precision: Precision = ray.get(answer)
    return precision
