"""What the entry points in `jobs/` do: drive a run from inside the cluster, not from the submitter's shell."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from seal_ray import plugins
from seal_ray.config import Config, load
from seal_ray.errors import said_in_one_line
from seal_ray.record.summary import Interval, print_table, refuse_void
from seal_ray.stopping import PROMISE, Stopped
from seal_ray.types import UserError
from seal_ray.workers.failures import unwrap
from seal_ray.workers.ray_connection import connect, join


def submit(config: str, overrides: Sequence[str], overlays: Sequence[str] = ()) -> None:
    """Run a config as a job and print its table. A job that is submitted again continues its run."""
    _log()
    with said_in_one_line(when_stopped=PROMISE):
        resolved = lasting(load(config, overrides, overlays))
        connect(resolved, forward_logs=True)
        logging.info("the run lives in %s", resolved.dir)
        try:
            summary = ray.get(drive(resolved, driver, modules()))
        except UserError as error:  # one that the driver raised, whose whole text is the driver's traceback
            raise unwrap(error) from None
        print_table(summary)
        refuse_void(summary)


def submit_bench(arguments: Sequence[str]) -> None:
    """Run `python -m benchmarks` on a worker of the cluster, and print what it prints."""
    with said_in_one_line():
        join(forward_logs=True)
    on_cpu = "cpu" in arguments
    code = ray.get(ray.remote(bench).options(num_cpus=1, num_gpus=0 if on_cpu else 1).remote(arguments))
    sys.exit(code)


def bench(arguments: Sequence[str]) -> int:
    """The command in a process of its own on this node; its exit code. What it prints goes to the driver's log."""
    return subprocess.run([sys.executable, "-m", "benchmarks", *arguments], check=False).returncode


def driver(config: Config, beside: Sequence[str] = ()) -> dict[str, Interval]:
    """A whole run, as its own process on the cluster, which finds the same modules beside the config."""
    from seal_ray.loop.run import run
    from seal_ray.observe.progress import LogProgress

    _log()
    plugins.beside(beside)
    try:
        with plugins.blaming():
            return run(config, LogProgress())
    except Stopped as stopped:  # Ray would take it for a task that was cancelled, and not begin it again
        stopped.leave()


def modules() -> list[str]:
    """Folders in which one's own modules are found, relative to the job's working directory where they lie in it."""
    here = Path.cwd()
    found = [Path(folder) for folder in plugins.folders()]
    return [str(folder.relative_to(here) if folder.is_relative_to(here) else folder) for folder in found]


def drive(config: Config, body: Callable[..., Any] = driver, *more: Any) -> ray.ObjectRef:
    """Start the driver as a Ray task that is begun again, and continues, whenever its process is lost.

    It takes no CPU and stays on this node, the head for a submitted job, which is not taken away like workers are.
    A run in object storage may go on elsewhere.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft="://" in config.dir)
    return ray.remote(body).options(num_cpus=0, max_retries=-1, scheduling_strategy=here).remote(config, *more)


def lasting(config: Config) -> Config:
    """A job's working directory is a copy that goes when the job ends, so relative run directories are under home."""
    if "://" in config.dir:
        return config
    return replace(config, run=replace(config.run, dir=str(Path.home() / config.dir)))


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
