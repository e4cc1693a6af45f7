"""The Ray that a run works with: joined or started, and whether it is still there."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from seal_ray.config import Config
from seal_ray.plain import first_line
from seal_ray.stopping import SIGNALS
from seal_ray.types import UserError

logger = logging.getLogger(__name__)

_TRIES = 3
"""How often starting Ray on this machine is tried: on a busy one it may not be up within the time it allows itself."""
_OF_OUR_OWN = {"RAY_prestart_worker_first_driver": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""What a Ray that is started here reads: no processes in advance, which workers with threads of their own could not
use, and nothing told to Ray's makers, which nobody was asked about."""
_HEAD_MAY_BE_AWAY = 40.0
"""Seconds for which a cluster's head may not answer: it may come back, and after 60 Ray ends this process."""


def connect(config: Config, forward_logs: bool = False) -> bool:
    """Join the cluster that a config names, the one this process runs in, or start one on this machine.

    Returns whether it was started, and so is this machine's alone, which no other joins.
    """
    return join(config.workers.address, forward_logs)


def is_named(address: str) -> bool:
    """Whether a run with this address joins a cluster, and starts none on this machine."""
    return bool(address or os.environ.get("RAY_ADDRESS") or ray.is_initialized())


def join(address: str = "", forward_logs: bool = False) -> bool:
    """Join the cluster at an address, or start one here without an address; returns whether one was started."""
    if ray.is_initialized():
        return False
    # Left to itself Ray would join the cluster last started on this machine: somebody else's, or one that is long gone.
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        _knock(address)
    except OSError as error:
        raise _unreachable(address, error) from None
    if address == "local":
        for name, value in _OF_OUR_OWN.items():
            os.environ.setdefault(name, value)
    for tries_left in reversed(range(_TRIES if address == "local" else 1)):
        try:
            with _signals_kept():
                ray.init(
                    address=address, include_dashboard=False, log_to_driver=forward_logs, logging_level=logging.ERROR
                )
            return address == "local"
        except Exception as error:  # Ray raises its very base class when it was not up in time
            ray.shutdown()
            if "AF_UNIX path length" in str(error) or isinstance(error, UnicodeEncodeError):
                why = "too long" if "AF_UNIX" in str(error) else "not of plain letters"
                raise UserError(
                    f"Ray's sockets lie below the folder for temporary files, whose path is {why} for that here: set "
                    f"RAY_TMPDIR to a short one on this machine, such as /tmp ({first_line(error)})"
                ) from None
            if isinstance(error, ValueError) or not tries_left:
                raise _unreachable(address, error) from None
            logger.warning("Ray did not start on this machine, which may be busy: trying again (%s)", first_line(error))
    raise AssertionError  # every way through the loop has left it


def _unreachable(address: str, error: Exception) -> UserError:
    where = "this machine" if address == "local" else address
    return UserError(f"Ray cannot be reached at {where}: {first_line(error)}")


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes over how this process ends, and prints addresses of C++ when told to; whoever started it keeps that."""
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in kept.items():
                if handler is not None:
                    signal.signal(number, handler)


def _knock(address: str) -> None:
    """Ray keeps trying an address for minutes; whether somebody listens there is known at once."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@dataclass
class Vitals:
    """Whether Ray's processes are there, seen from outside of it: Ray itself would answer late, or end this process."""

    head: str
    node: str
    """The id of the node that this process is on."""
    _away_since: float | None = None

    @classmethod
    def of_this_cluster(cls) -> Vitals:
        here = ray.get_runtime_context()
        mine = next((node for node in ray.nodes() if node["NodeID"] == here.get_node_id()), None)
        node = f"{mine['NodeManagerAddress']}:{mine['NodeManagerPort']}" if mine else ""
        heard = ["" if _silent(address) else address for address in (here.gcs_address, node)]
        return cls(head=heard[0], node=heard[1])

    def gone(self) -> str:
        """Which part of Ray is gone for good; empty while all is there, or may come back."""
        if self.node and _silent(self.node):
            return "Ray's raylet on this machine is gone"
        if not self.head or not _silent(self.head):
            self._away_since = None
            return ""
        self._away_since = self._away_since or time.monotonic()
        here = _host(self.head) == _host(self.node)
        if here or time.monotonic() - self._away_since > _HEAD_MAY_BE_AWAY:
            return f"Ray's head at {self.head} is gone"
        return ""


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _silent(address: str) -> bool:
    try:
        _knock(address)
    except OSError:
        return True
    return False
