"""A run that finds no room on its cluster is refused, or says what it waits for."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from seal_ray.types import UserError
from seal_ray.workers.cluster import RayCluster
from seal_ray.workers.room import Machine, Need, beside, lack, refuse_what_never_fits
from tests.runs import small_run

TRAINER = Need("trainer", 4, 1)


def test_what_this_machine_can_never_hold_is_refused_with_the_settings_that_ask_for_it() -> None:
    refuse_what_never_fits([TRAINER], Machine(4, 1))
    asked = r"a trainer needs 1 GPU and 4 CPUs \(workers.cpus, workers.gpus_per_trainer\), and this machine has"
    for here, has in [(Machine(8, 0), "0 GPUs and 8 CPUs"), (Machine(2, 1), "1 GPU and 2 CPUs")]:
        with pytest.raises(UserError, match=f"{asked} {has}: .*seal-ray doctor"):
            refuse_what_never_fits([TRAINER], here)


@pytest.mark.parametrize(
    ("cpus", "gpus", "found", "fitting"),
    [
        (1, 0, [Machine(2, 0)], 1),
        (0.3, 0, [Machine(2, 0)], 5),
        (0.5, 0.5, [Machine(4, 1)], 1),
        (1, 1, [Machine(4, 1)], 0),
        (1, 1, [Machine(4, 1), Machine(2, 3)], 2),
        (1, 1, [], 0),
    ],
)
def test_trainers_are_counted_that_find_room_beside_a_sampler(
    cpus: float, gpus: float, found: list[Machine], fitting: int
) -> None:
    assert beside(Need("trainer", cpus, gpus), Need("sampler", cpus, gpus), found) == fitting


def test_no_machine_that_is_large_enough_is_told_apart_from_one_that_is_in_use() -> None:
    small, large = Machine(8, 0), Machine(8, 1)
    found = lack(TRAINER, [small, small])
    assert "waiting for a machine with 1 GPU and 4 CPUs for a trainer" in found
    assert "the cluster has 0 GPUs and 16 CPUs on 2 machines, and none that large" in found
    assert "seal-ray doctor" in found
    known = lack(TRAINER, [small, large])
    assert known.endswith("1 GPU and 16 CPUs on 2 machines, in use or with a process that still starts")


def test_on_a_cluster_that_may_grow_a_run_without_room_says_within_seconds_what_it_waits_for(
    local_ray: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            loop.call_soon_threadsafe(said.set)

    async def main() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        async with RayCluster(small_run(tmp_path, "--workers.cpus", "64"), on_span=lambda span: None) as cluster:
            asked = asyncio.create_task(cluster.trainers.call("batch_tokens", None))
            await asyncio.wait_for(said.wait(), 60)
            asked.cancel()

    loop: asyncio.AbstractEventLoop
    listener = Listener(logging.WARNING)
    logging.getLogger("seal_ray.workers.room").addHandler(listener)
    try:
        asyncio.run(main())
    finally:
        logging.getLogger("seal_ray.workers.room").removeHandler(listener)
    assert "waiting for a machine with 64 CPUs for a trainer: the cluster has" in caplog.text
