"""Whether somebody is at work on a run is seen from beside, and looking takes nothing from anybody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from seal_ray.record.lease import Lease
from seal_ray.record.presence import Presence
from seal_ray.record.storage import Store

HOLD = """
import sys
from seal_ray.record.storage import Store
hold = Store(sys.argv[1]).lock()
print("held", flush=True)
sys.stdin.read()
"""


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


def test_a_folder_is_held_for_as_long_as_the_process_that_holds_it_lives(tmp_path: Path) -> None:
    presence = Presence(Store(str(tmp_path)))
    assert presence.look() is False
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        assert presence.look() is True
        holder.kill()
    assert presence.look() is False


def test_looking_takes_no_lock_and_leaves_no_file(tmp_path: Path) -> None:
    Presence(Store(str(tmp_path))).look()
    assert not list(tmp_path.iterdir())
    hold = Store(str(tmp_path)).lock()
    assert Presence(Store(str(tmp_path))).look()
    hold.close()
    Store(str(tmp_path)).lock().close()


def test_a_lease_says_that_somebody_is_at_work_once_it_was_seen_renewed(bucket: str) -> None:
    clock = Clock()
    lease = Lease.acquire(Store(bucket), 30, clock.now, renewed=False)
    presence = Presence(Store(bucket), clock.now)
    assert presence.look() is None
    lease.renew()
    assert presence.look() is True
    clock.time = 29.0
    assert presence.look() is True
    clock.time = 30.0
    assert presence.look() is False, "its holder is gone"
    lease.renew()
    assert presence.look() is True, "it was only slow"
    lease.close()
    assert presence.look() is False


def test_a_lease_of_a_killed_driver_is_not_taken_for_work(bucket: str) -> None:
    clock = Clock()
    Lease.acquire(Store(bucket), 30, clock.now, renewed=False)
    presence = Presence(Store(bucket), clock.now)
    assert presence.look() is None
    clock.time = 30.0
    assert presence.look() is False
