"""Segments are merged while a run goes on: few to open, in the same order, whatever is killed and whoever reads."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from seal_ray.record import journal as journals
from seal_ray.record import manifest as manifests
from seal_ray.record.journal import MERGE, Journal
from seal_ray.record.repair import repair
from seal_ray.record.storage import Store
from tests.record.journals import add, journal_in, keys, rewards, segments, written

pytestmark = pytest.mark.usefixtures("by_hand")


def test_merging_goes_as_counting_does_and_keeps_every_row_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MERGE", 3)
    journal = written(tmp_path, 32)
    assert [each.rows for each in manifests.latest(Store(str(tmp_path))).tables["outcomes"]] == [27, 3, 1, 1]
    assert len(segments(tmp_path)) == 4
    assert keys(journal_in(tmp_path)) == keys(journal) == [f"k{n}" for n in range(32)]


def test_twenty_thousand_flushes_leave_at_most_sixty_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As counted: the merging alone, with nothing in the segments."""
    journal = journal_in(tmp_path)
    monkeypatch.setattr(Journal, "_read", lambda *_: journals.TABLES["spans"].empty_table())
    made = iter(range(10**6))

    def write(_: object, name: str, rows: object, token: int, place: str = "", level: int = 0) -> journals.Segment:
        file = manifests.segment_name(token, next(made))
        return journals.Segment(file, 0, 0, "x", level, place or file)

    monkeypatch.setattr(Journal, "_write", write)
    found: tuple[journals.Segment, ...] = ()
    most = 0
    for _ in range(20_000):
        found = journal._merge("spans", (*found, journal._write("spans", None, 1)), 1, [])
        most = max(most, len(found))
    assert most <= 60
    assert [each.place for each in found] == sorted(each.place for each in found)


def _killed_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """A kill at one of the changes a process makes to its folder from now on."""
    left = step

    def before(change: str) -> None:
        whole = getattr(Store, change)

        def killed(store: Store, *arguments: object) -> object:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return whole(store, *arguments)

        monkeypatch.setattr(Store, change, killed)

    for change in ("create", "delete", "write"):
        before(change)


@pytest.mark.parametrize("step", range(MERGE + 4))
def test_a_kill_at_any_step_of_a_merge_changes_neither_the_rows_nor_their_order_nor_which_of_two_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    journal = written(tmp_path, MERGE - 2)
    add(journal, "k0", reward=0.9)  # a second one: the first stands
    journal.flush()
    before = rewards(journal_in(tmp_path))
    with monkeypatch.context() as patch:
        _killed_at(patch, step)
        add(journal, "last")
        with pytest.raises(KeyboardInterrupt):
            journal.flush()
    after = rewards(journal_in(tmp_path))
    assert after in (before, [*before, ("last", 0.5)])
    again = journal_in(tmp_path)
    again.begin()
    assert rewards(again) == after
    named = manifests.latest(Store(str(tmp_path))).tables["outcomes"]
    assert [path.name for path in segments(tmp_path)] == sorted(each.name for each in named)


def test_a_reader_beside_a_merge_sees_every_row_at_every_moment(tmp_path: Path) -> None:
    journal = written(tmp_path, MERGE - 1)
    reader, seen, done = journal_in(tmp_path), [], threading.Event()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while not done.is_set():
                seen.append(keys(reader))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(MERGE - 1, 3 * MERGE):
            add(journal, f"k{number}")
            journal.flush()
    finally:
        done.set()
        thread.join()
    assert not errors
    assert all(found == [f"k{n}" for n in range(len(found))] and len(found) >= MERGE - 1 for found in seen)


def test_a_reader_whose_segments_are_merged_away_while_it_reads_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merge happens exactly between the manifest and the first segment."""
    journal = written(tmp_path, MERGE - 1)
    reader, whole, merged = journal_in(tmp_path), Journal._read_all, False

    def read_all(self: Journal, *more: object) -> object:
        nonlocal merged
        if self is reader and not merged:
            merged = True
            add(journal, "last")
            journal.flush()
        return whole(self, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "_read_all", read_all)
    assert keys(reader) == [*(f"k{n}" for n in range(MERGE - 1)), "last"]
    assert merged


def test_rows_are_in_order_past_a_million_segments(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal._written = 999_998
    for number in range(4):
        add(journal, f"k{number}")
        journal.flush()
    assert keys(journal_in(tmp_path)) == ["k0", "k1", "k2", "k3"]
    for path in (tmp_path / "journal").glob("manifest-*.json"):
        path.unlink()
    repair(Store(str(tmp_path)))
    assert keys(journal_in(tmp_path)) == ["k0", "k1", "k2", "k3"]
