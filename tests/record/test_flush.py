"""A row is on disk within a second, by a timer; what goes wrong there is said once, and loses and doubles nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_ray.record import manifest as manifests
from seal_ray.record.journal import MERGE, Journal
from seal_ray.record.rows import TABLES, OutcomeRow
from seal_ray.record.segments import Segment, arrow, checksum, decode, encode
from seal_ray.record.storage import Store
from seal_ray.types import UserError
from tests.record.journals import OUTCOME, add, journal_in, keys, written

COLUMNS = TABLES["outcomes"]


class Flushed:
    """Every flush of a journal, to be waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = threading.Semaphore(0)
        whole = Journal._flush_behind

        def flush_behind(journal: Journal) -> None:
            whole(journal)
            self.done.release()

        monkeypatch.setattr(Journal, "_flush_behind", flush_behind)


def test_outcomes_that_end_together_reach_the_disk_though_nothing_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, journal = Flushed(monkeypatch), journal_in(tmp_path)
    add(journal, *(f"k{n}" for n in range(16)))
    assert flushed.done.acquire(timeout=60)
    assert keys(journal_in(tmp_path)) == [f"k{n}" for n in range(16)]


def test_the_timer_is_set_to_less_than_a_second_when_a_row_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[float] = []

    class Timer(threading.Timer):
        def __init__(self, seconds: float, *more: object) -> None:
            set_to.append(seconds)
            super().__init__(3600, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(threading, "Timer", Timer)
    journal = journal_in(tmp_path)
    add(journal, "k1", "k2")
    journal.flush()
    add(journal, "k3")
    journal.flush()
    assert len(set_to) == 2
    assert max(set_to) < 1


def test_a_process_that_ends_without_flushing_leaves_nothing_in_memory(tmp_path: Path) -> None:
    """Not even where that flush is the one that merges."""
    written(tmp_path, MERGE - 1)
    code = f"from tests.record.journals import *; add(journal_in({str(tmp_path)!r}), 'k15')"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert keys(journal_in(tmp_path)) == [f"k{n}" for n in range(MERGE)]


class Failing:
    """A disk that is full for as many manifests as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        whole = Store.create

        def create(store: Store, name: str, data: bytes) -> bool:
            if "manifest" in name and self.times:
                self.times -= 1
                raise UserError(f"{store.url}: cannot write {name}: No space left on device")
            return whole(store, name, data)

        monkeypatch.setattr(Store, "create", create)


def test_an_error_behind_the_drivers_back_is_raised_once_and_nothing_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, failing = Flushed(monkeypatch), Failing(monkeypatch)
    journal = journal_in(tmp_path)
    journal.begin()
    failing.times = 1
    add(journal, "k1", "k2")
    assert flushed.done.acquire(timeout=60)
    assert keys(journal) == ["k1", "k2"]
    assert keys(journal_in(tmp_path)) == []
    with pytest.raises(UserError, match="No space left on device"):
        add(journal, "k3")
    add(journal, "k4")
    journal.flush()
    assert keys(journal) == keys(journal_in(tmp_path)) == ["k1", "k2", "k3", "k4"]
    recorded = manifests.latest(Store(str(tmp_path))).tables["outcomes"]
    assert sum(segment.rows for segment in recorded) == 4


def test_an_error_is_not_raised_again_where_a_flush_has_mended_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, failing = Flushed(monkeypatch), Failing(monkeypatch)
    journal = journal_in(tmp_path)
    journal.begin()
    failing.times = 1
    add(journal, "k1")
    assert flushed.done.acquire(timeout=60)
    journal.flush()
    add(journal, "k2")
    journal.flush()
    assert keys(journal_in(tmp_path)) == ["k1", "k2"]


@pytest.mark.usefixtures("by_hand")
def test_a_flush_that_was_cut_short_after_its_commit_is_not_taken_for_another_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journal_in(tmp_path)
    journal.begin()
    whole = Store.create

    def interrupted(store: Store, name: str, data: bytes) -> bool:
        whole(store, name, data)
        if "manifest" in name:
            raise KeyboardInterrupt
        return True

    add(journal, "k1")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "create", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.flush()
    add(journal, "k2")
    journal.flush()
    assert keys(journal) == keys(journal_in(tmp_path)) == ["k1", "k2"]


@pytest.mark.usefixtures("by_hand")
def test_a_row_with_text_that_no_file_can_hold_is_mended_and_its_neighbours_are_whole(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    row = OutcomeRow.of(OUTCOME).as_dict()
    texts = {"lone": "a\ud800b", "nul": "a\x00b", "bidi": "\u202ea\u2066", "long": "é" * 60_000, "face": "😀"}
    for key, text in texts.items():
        journal.append("outcomes", row | {"key": key, "answers": [text, "fine"], "reason": text})
    journal.flush()
    found = {row["key"]: row for row in journal_in(tmp_path).rows("outcomes")}
    assert {key: row["answers"] for key, row in found.items()} == {
        key: ["a?b" if key == "lone" else text, "fine"] for key, text in texts.items()
    }
    add(journal, "later")
    journal.flush()
    assert "later" in keys(journal_in(tmp_path))


@pytest.mark.usefixtures("by_hand")
def test_a_row_that_fits_no_table_is_an_error_and_all_others_are_on_disk(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    add(journal, "k1")
    journal.append("outcomes", OutcomeRow.of(OUTCOME).as_dict() | {"key": "bad", "steps": 2**70})
    add(journal, "k2")
    with pytest.raises(OverflowError) as caught:
        journal.flush()
    assert "'key': 'bad'" in caught.value.__notes__[0]
    journal.flush()
    assert keys(journal_in(tmp_path)) == ["k1", "k2"]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=())), max_size=4),
    numbers=st.lists(st.floats(), max_size=4),
    reason=st.none() | st.text(st.characters(categories=("Cs", "Cc", "Lu"))),
)
def test_any_text_and_any_number_is_recorded(texts: list[str], numbers: list[float], reason: str | None) -> None:
    row = OutcomeRow.of(OUTCOME).as_dict() | {"answers": texts, "verdicts": numbers, "reason": reason}
    table, errors = arrow([row | {"key": "odd"}, row | {"key": "plain", "answers": ["a"], "reason": None}], COLUMNS)
    assert not errors
    data = encode(table, "place", None)
    odd, plain = decode(data, COLUMNS, Segment("x", 2, len(data), checksum(data))).to_pylist()
    assert plain["answers"] == ["a"]
    assert odd["answers"] == [text.encode("utf-8", "replace").decode() for text in texts]
    assert [repr(each) for each in odd["verdicts"]] == [repr(each) for each in numbers]
