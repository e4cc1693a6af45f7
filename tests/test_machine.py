"""What a process may have of its machine, as control groups of both versions and of containers grant it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from seal_ray import machine

GB = 10**9
STAT = "anon 1000000000\n{0}inactive_file 200000000\n{0}active_file 300000000"
NO_LIMIT = 9223372036854771712


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of control groups, on a machine of 64 cores that has 200 GB free."""
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "_OWN", tmp_path / "own")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=200 * GB))
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)), raising=False)
    return tmp_path / "groups"


def belongs_to(root: Path, *lines: str) -> None:
    (root.parent / "own").write_text("".join(f"{line}\n" for line in lines))


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def test_without_control_groups_it_is_what_the_machine_has(root: Path) -> None:
    assert machine.free_memory() == 200 * GB
    assert machine.cores() == 64


def test_a_container_has_what_its_limit_leaves_and_what_only_caches_files(root: Path) -> None:
    belongs_to(root, "0::/")
    group(root, memory__max=8 * GB, memory__current=3 * GB, memory__stat=STAT.format(""), cpu__max="400000 100000")
    assert machine.free_memory() == 5_500_000_000
    assert machine.cores() == 4


def test_a_group_without_a_limit_takes_nothing_away(root: Path) -> None:
    belongs_to(root, "0::/user.slice/mine")
    group(root / "user.slice" / "mine", memory__max="max", memory__current=GB, memory__stat=STAT.format(""))
    group(root / "user.slice" / "mine", cpu__max="max 100000")
    assert machine.free_memory() == 200 * GB
    assert machine.cores() == 64


def test_the_limit_of_a_group_around_it_counts_where_it_is_the_narrower(root: Path) -> None:
    belongs_to(root, "0::/pod/container")
    group(root / "pod" / "container", memory__max=50 * GB, memory__current=GB, memory__stat=STAT.format(""))
    group(root / "pod", memory__max=8 * GB, memory__current=3 * GB, memory__stat=STAT.format(""))
    group(root / "pod", cpu__max="250000 100000")
    assert machine.free_memory() == 5_500_000_000
    assert machine.cores() == 2


def test_of_the_first_version_too(root: Path) -> None:
    belongs_to(root, "4:memory:/job", "2:cpu,cpuacct:/job", "0::/")
    stat, memory = STAT.format("total_"), root / "memory"
    group(memory / "job", memory__limit_in_bytes=8 * GB, memory__usage_in_bytes=3 * GB, memory__stat=stat)
    group(memory, memory__limit_in_bytes=NO_LIMIT, memory__usage_in_bytes=20 * GB, memory__stat=stat)
    group(root / "cpu" / "job", cpu__cfs_quota_us=50000, cpu__cfs_period_us=100000)
    group(root / "cpu", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    assert machine.free_memory() == 5_500_000_000
    assert machine.cores() == 1, "half a core is one that is given half its time"


def test_a_container_that_is_told_the_path_outside_of_it_finds_its_group_at_the_root(root: Path) -> None:
    belongs_to(root, "4:memory:/docker/0a74c8")
    limits = {"memory__limit_in_bytes": 8 * GB, "memory__usage_in_bytes": 3 * GB}
    group(root / "memory", **limits, memory__stat=STAT.format("total_"))
    assert machine.free_memory() == 5_500_000_000


def test_a_container_that_is_over_its_limit_has_nothing_left(root: Path) -> None:
    belongs_to(root, "0::/")
    group(root, memory__max=GB, memory__current=3 * GB, memory__stat=STAT.format(""))
    assert machine.free_memory() == 0


@pytest.fixture
def limited() -> Iterator[Path]:
    """A control group of half a gigabyte that this kernel really has."""
    own = next(iter(machine._groups("memory")), None)
    folder = own / "seal-ray-test" if own else None
    try:
        assert folder, "this system has no control groups"
        folder.mkdir()
        limit = "memory.max" if (folder / "memory.max").exists() else "memory.limit_in_bytes"
        (folder / limit).write_text(str(1 << 29))
        within(folder, "")
    except (AssertionError, OSError, subprocess.CalledProcessError) as error:
        if folder:
            with suppress(OSError):
                folder.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield folder
    folder.rmdir()


def within(group: Path, code: str) -> str:
    """What a process that enters a group prints there."""
    enter = f"with open({str(group / 'cgroup.procs')!r}, 'w') as members:\n    members.write('0')\n"
    return subprocess.run([sys.executable, "-c", enter + code], capture_output=True, text=True, check=True).stdout


def test_a_process_in_a_real_group_is_told_that_group_s_limit(limited: Path) -> None:
    found = within(limited, "from seal_ray.machine import free_memory\nprint(free_memory())")
    assert 0 < int(found) <= 1 << 29
