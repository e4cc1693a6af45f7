"""What every entry point in `jobs/` does: drive a run from inside the cluster, not from the submitter's shell."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import ray
from ray.exceptions import RayTaskError

from seal_ray.config import Config, load
from seal_ray.summary import Interval, print_table
from seal_ray.types import UserError
from seal_ray.workers.crew import connect


def submit(config_path: str, overrides: Sequence[str]) -> None:
    """Run a config as a Ray task that is started again if its process or node is lost, and print its table."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        config = load(config_path, overrides)
        connect(config, forward_logs=True)
        drive = ray.remote(_drive).options(num_cpus=0, max_retries=-1)
        print_table(ray.get(drive.remote(config)))
    except UserError as error:
        sys.exit(_refuse(error))
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            sys.exit(_refuse(error.cause))
        raise


def _drive(config: Config) -> dict[str, Interval]:
    from seal_ray.run import run
    from seal_ray.ui import LogProgress

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    return run(config, LogProgress())


def _refuse(error: UserError) -> int:
    print(f"seal-ray: {error}", file=sys.stderr)
    return 2
