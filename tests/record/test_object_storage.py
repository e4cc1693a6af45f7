"""Two drivers on object storage: one writes, the other waits or stops, whatever it was doing when it was stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seal_ray.policy import adapters
from seal_ray.record import lease as leases
from seal_ray.record import manifest as manifests
from seal_ray.record.lease import Lease, Lost
from seal_ray.record.objects import Objects
from seal_ray.record.repair import repair
from seal_ray.record.segments import Damaged
from seal_ray.record.storage import Store
from seal_ray.types import UserError
from tests.record.journals import add, journal_in, keys, written
from tests.record.test_damage import adapter

pytestmark = pytest.mark.usefixtures("bucket", "by_hand")


class Clock:
    """Time that passes when somebody waits, and while whoever has it is stopped."""

    def __init__(self) -> None:
        self.time = 0.0
        self.meanwhile: list[Callable[[], object]] = []

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += seconds
        if self.meanwhile:
            self.meanwhile.pop(0)()


def held(store: Store, clock: Clock) -> Lease:
    """A lease under this clock, which nothing renews but a check."""
    lease = Lease.acquire(store, 30, clock.now, clock.wait, renewed=False)
    store._check = lease.check
    return lease


@pytest.fixture(params=["objects", "a folder"])
def place(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> str:
    """Object storage, and a folder on a file system without locks."""
    return bucket if request.param == "objects" else str(tmp_path / "run")


def test_a_journal_on_object_storage_holds_what_one_in_a_folder_holds(bucket: str) -> None:
    store = Store(bucket)
    assert not store.exists("journal")
    written(bucket, 20)
    assert keys(journal_in(bucket)) == [f"k{n}" for n in range(20)]
    assert store.exists("journal")
    assert sorted(name for name in store.walk("journal") if name.endswith("parquet")) == [
        f"journal/outcomes/{each.name}" for each in sorted(manifests.latest(store).tables["outcomes"], key=str)
    ]
    second = manifests.latest(store).tables["outcomes"][1].name
    store.overwrite(f"journal/outcomes/{second}", b"other bytes")
    with pytest.raises(Damaged, match=second):
        keys(journal_in(bucket))
    repair(store)
    assert len(keys(journal_in(bucket))) == 19
    assert adapters.get(store, adapters.put(store, adapter())).rank == 2


def test_of_two_journals_that_write_without_any_lock_one_is_told_and_nothing_is_overwritten(place: str) -> None:
    one, other = journal_in(place), journal_in(place)
    add(one, "a0")
    one.flush()
    add(other, "b0")
    other.flush()
    add(one, "a1")
    with pytest.raises(Lost, match="another process has taken this run over"):
        one.flush()
    add(other, "b1")
    other.flush()
    assert keys(journal_in(place)) == ["a0", "b0", "b1"]


@pytest.mark.parametrize("first", ["one", "other"])
def test_of_two_flushes_at_once_one_counts_and_both_have_files_of_their_own(
    place: str, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Both stand before the manifest they would make; then they are let go, one before the other."""
    one, other = journal_in(place), journal_in(place)
    one.begin()
    add(one, "one")
    there, go = threading.Barrier(3), {name: threading.Event() for name in ("one", "other")}
    stopped, ended = set(), []
    whole = Store.create

    def create(store: Store, name: str, data: bytes) -> bool:
        who = threading.current_thread().name
        if "manifest" in name and who in go and who not in stopped:
            stopped.add(who)
            there.wait(60)
            go[who].wait(60)
        return whole(store, name, data)

    monkeypatch.setattr(Store, "create", create)

    def flush(journal: object, name: str) -> None:
        try:
            journal.flush()  # type: ignore[attr-defined]
            ended.append((name, "written"))
        except Lost:
            ended.append((name, "lost"))

    add(other, "other")
    threads = {
        name: threading.Thread(target=flush, args=(journal, name), name=name)
        for name, journal in (("one", one), ("other", other))
    }
    for thread in threads.values():
        thread.start()
    there.wait(60)
    for name in (first, "other" if first == "one" else "one"):
        go[name].set()
        threads[name].join(60)
    if first == "one":  # it was written, and the other took over after it
        assert ended == [("one", "written"), ("other", "written")]
        assert keys(journal_in(place)) == ["one", "other"]
    else:  # it was taken over from, and has written nothing that counts
        assert ended == [("other", "written"), ("one", "lost")]
        assert keys(journal_in(place)) == ["other"]


def test_a_driver_that_wakes_after_its_lease_is_gone_writes_nothing(place: str) -> None:
    asleep, awake, clock = Store(place), Store(place), Clock()
    held(asleep, clock)
    old = journal_in(place)
    old._store = asleep
    add(old, "a0")
    old.flush()
    held(awake, clock)  # waits out thirty seconds, in which the first was stopped
    new = journal_in(place)
    new._store = awake
    new.begin()
    before = Store(place).walk("")
    add(old, "a1")
    with pytest.raises(Lost, match=r"another process has taken this run over \(process \d+ on "):
        old.flush()
    with pytest.raises(Lost):
        asleep.write("policies/0001/adapter_model.safetensors", b"x")
    assert Store(place).walk("") == before
    add(new, "b0")
    new.flush()
    assert keys(journal_in(place)) == ["a0", "b0"]


def test_a_driver_stopped_between_its_check_and_its_write_is_refused_by_the_storage(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as it likes: others have taken over, ended, and begun again since."""
    old = journal_in(bucket)
    add(old, "a0")
    old.flush()
    for round_ in range(3):
        journal = written(bucket, 0)
        journal.begin()
        for number in range(4):
            add(journal, f"b{round_}{number}")
            journal.flush()
    whole = keys(journal_in(bucket))
    add(old, "a1")
    with pytest.raises(Lost):
        old.flush()
    assert keys(journal_in(bucket)) == whole


def test_a_file_that_changed_since_its_writer_looked_is_not_overwritten(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other, clock = Store(bucket), Store(bucket), Clock()
    store.write("policies/0001/x", b"one")
    held(store, clock)
    whole = Objects._tag

    def stopped(self: Objects, name: str) -> object:
        tag = whole(self, name)
        monkeypatch.setattr(Objects, "_tag", whole)
        held(other, clock)
        other.write(name, b"the next driver's")
        return tag

    monkeypatch.setattr(Objects, "_tag", stopped)
    with pytest.raises(Lost):
        store.write("policies/0001/x", b"the old one's")
    assert other.read("policies/0001/x") == b"the next driver's"


def test_a_driver_at_work_is_not_taken_over(place: str) -> None:
    clock = Clock()
    lease = held(Store(place), clock)
    clock.meanwhile = [lambda: None, lambda: None, lease.renew]
    with pytest.raises(UserError, match=r"another process is at work here \(process \d+ on .*\); wait for it"):
        held(Store(place), clock)
    assert clock.time == 9  # no longer than it took to see it
    lease.check()


def test_of_two_that_wait_for_a_lease_one_gets_it(place: str) -> None:
    clock, store = Clock(), Store(place)
    held(store, clock)
    clock.meanwhile = [lambda: None] * 9 + [lambda: held(Store(place), Clock())]
    with pytest.raises(UserError, match="another process"):
        held(Store(place), clock)


def test_a_lease_that_was_given_back_is_taken_at_once(place: str) -> None:
    clock = Clock()
    first = held(Store(place), clock)
    first.close()
    second = held(Store(place), clock)
    assert clock.time == 0
    with pytest.raises(Lost):
        first.renew()
    second.check()


def test_a_lease_that_ran_out_and_that_nobody_took_is_held_on_to(place: str) -> None:
    clock = Clock()
    lease = held(Store(place), clock)
    clock.time += 1000
    lease.check()


def test_who_holds_a_run_renews_its_lease_by_itself_and_gives_it_back(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed, whole = threading.Event(), Lease.renew

    def renew(lease: Lease) -> None:
        whole(lease)
        renewed.set()

    monkeypatch.setattr(Lease, "renew", renew)
    monkeypatch.setattr(leases, "SECONDS", 0.3)
    hold = Store(bucket).lock()
    assert renewed.wait(60)
    hold.close()
    clock = Clock()
    held(Store(bucket), clock)
    assert clock.time == 0


DRIVER = """
import sys
from seal_ray.record.journal import Journal
from seal_ray.record.lease import Lease
from seal_ray.record.storage import Store
from tests.record.journals import add
time, store = [0.0], Store(sys.argv[1])
lease = Lease.acquire(store, 30, now=lambda: time[0], renewed=False)
store._check = lease.check
journal = Journal(store)
journal.begin()
add(journal, "before"); journal.flush()
print("ready", flush=True)
sys.stdin.readline()
time[0] += 3600  # as long as it was stopped
add(journal, "after"); journal.flush()
"""


def test_a_driver_process_that_was_stopped_and_wakes_ends_in_an_error_and_has_written_nothing(bucket: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, bucket], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGSTOP)
        try:
            held(Store(bucket), Clock())
            journal = written(bucket, 1)
            before = Store(bucket).walk("")
        finally:
            process.send_signal(signal.SIGCONT)
        _, said = process.communicate(b"go\n", timeout=300)
    assert b"another process has taken this run over" in said.splitlines()[-1]
    assert Store(bucket).walk("") == before
    assert keys(journal) == ["before", "k0"]


def test_a_bucket_that_is_not_there_is_one_line(bucket: str) -> None:
    with pytest.raises(UserError, match=r"s3://no-such-bucket/run: cannot .*"):
        Store("s3://no-such-bucket/run").lock()
    with pytest.raises(UserError, match="hdfs://there/run: not a place a run can live"):
        Store("hdfs://there/run")
