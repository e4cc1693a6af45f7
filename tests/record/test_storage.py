"""A local run directory: its lock harms nothing and says what it means, and what was renamed survives a power cut."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from seal_ray.record import lease as leases
from seal_ray.record.storage import Store
from seal_ray.types import UserError


def test_a_lock_that_is_a_link_is_refused_and_what_it_points_at_is_left_as_it_is(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim.txt", tmp_path / "run"
    victim.write_text("precious")
    folder.mkdir()
    (folder / ".lock").symlink_to(victim)
    with pytest.raises(UserError, match=r"\.lock is a symbolic link, which no run makes; remove it"):
        Store(str(folder)).lock()
    assert victim.read_text() == "precious"


def test_a_lock_file_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("somebody's")
    Store(str(tmp_path)).lock().close()
    assert (tmp_path / ".lock").read_text() == "somebody's"


def test_a_lock_that_another_holds_says_that_it_is_held(tmp_path: Path) -> None:
    hold = Store(str(tmp_path)).lock()
    with pytest.raises(UserError, match="another process is at work here"):
        Store(str(tmp_path)).lock()
    hold.close()
    Store(str(tmp_path)).lock().close()


def _flock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_pipe_in_the_place_of_a_file_holds_nothing_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    assert Store(str(tmp_path)).read("config.json") == b""


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_a_file_system_has_no_locks_a_lease_is_taken_in_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _flock(monkeypatch, number)
    monkeypatch.setattr(leases, "_wait_out", lambda *_: pytest.fail("a lease that was given back is not waited for"))
    store = Store(str(tmp_path))
    hold = store.lock()
    assert list(store.walk("lease")) == ["lease/000001.json"]
    hold.close()
    Store(str(tmp_path)).lock().close()


def test_a_lock_that_fails_is_told_apart_from_one_that_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _flock(monkeypatch, errno.EIO)
    with pytest.raises(UserError, match="cannot be written: Input/output error"):
        Store(str(tmp_path)).lock()


def test_every_folder_is_synced_after_a_file_in_it_got_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    synced, linked, replaced = os.fsync, os.link, os.replace

    def fsync(handle: int) -> None:
        done.append(("sync", os.readlink(f"/proc/self/fd/{handle}")))
        synced(handle)

    def link(source: Path, target: Path) -> None:
        done.append(("name", str(target)))
        linked(source, target)

    def replace(source: Path, target: Path) -> None:
        done.append(("name", str(target)))
        replaced(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "replace", replace)
    folder = tmp_path / "run/policies/0001"
    store = Store(str(tmp_path / "run"))
    store.write("policies/0001/weights", b"1")
    store.create("policies/0001/config", b"2")
    store.move("policies/0001/config", "policies/0001/moved")
    for place, (what, name) in enumerate(done):
        if what == "name":
            assert done[place + 1] == ("sync", str(folder)), name
    assert [name for what, name in done if what == "name"] == [str(folder / n) for n in ("weights", "config", "moved")]
    new = [str(each) for each in (tmp_path, tmp_path / "run", tmp_path / "run/policies")]
    assert [name for what, name in done if what == "sync"][:3] == new


def test_a_file_is_made_once_also_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    store = Store(str(tmp_path))
    assert store.create("a", b"1")
    assert not store.create("a", b"2")
    assert store.read("a") == b"1"
    assert list(store.walk("")) == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("then", ["moved", "removed", "another's"])
def test_a_folder_that_is_moved_or_removed_while_it_is_held_is_not_made_anew(tmp_path: Path, then: str) -> None:
    folder = tmp_path / "run"
    store = Store(str(folder))
    hold = store.lock()
    store.write("before", b"whole")
    if then == "removed":
        shutil.rmtree(folder)
    else:
        folder.rename(tmp_path / "elsewhere")
    if then == "another's":
        Store(str(folder)).lock().close()
    with pytest.raises(UserError, match=r"run: was moved or removed, .* goes on with it where it is now"):
        store.write("after", b"half")
    with pytest.raises(UserError, match="was moved or removed"):
        store.create("journal/after", b"half")
    assert not folder.exists() or [each.name for each in folder.iterdir()] == [".lock"]
    hold.close()
    if then == "moved":
        again = Store(str(tmp_path / "elsewhere"))
        again.lock().close()
        again.write("after", b"who has let go is held to nothing")
