"""The journal holds each thing once, whatever is killed and whenever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.record.rows import OutcomeRow
from seal_ray.types import Failure, Outcome, UserError
from tests.disks import mounted
from tests.record.journals import OUTCOME, journal_in, keys

pytestmark = pytest.mark.usefixtures("by_hand")


@pytest.mark.parametrize("outcome", [OUTCOME, replace(OUTCOME, failure=Failure("data", "empty"), reward=0.0)])
def test_an_outcome_comes_back_as_it_went_in(tmp_path: Path, outcome: Outcome) -> None:
    journal = journal_in(tmp_path)
    journal.record(OutcomeRow.of(outcome))
    journal.flush()
    assert [row.outcome for row in journal_in(tmp_path).read(OutcomeRow)] == [outcome]


def test_rows_are_seen_before_and_after_they_reach_the_disk(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.record(OutcomeRow.of(OUTCOME))
    assert keys(journal) == ["k1"]
    journal.flush()
    assert keys(journal) == keys(journal_in(tmp_path)) == ["k1"]


def test_a_row_written_twice_counts_once_and_the_first_stands(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for reward in (0.5, 0.9):
        journal.record(OutcomeRow.of(replace(OUTCOME, reward=reward)))
        journal.flush()
    assert [row["reward"] for row in journal_in(tmp_path).rows("outcomes")] == [0.5]


def test_a_segment_half_written_when_the_process_was_killed_is_not_there(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.record(OutcomeRow.of(OUTCOME))
    journal.flush()
    (tmp_path / "journal/outcomes/000001.parquet.tmp").write_bytes(b"PAR1 and then the power went")
    again = journal_in(tmp_path)
    again.record(OutcomeRow.of(replace(OUTCOME, key="k2")))
    again.flush()
    assert keys(journal_in(tmp_path)) == ["k1", "k2"]


@pytest.mark.parametrize(
    ("trouble", "relief", "said"),
    [("size=16k", "size=1m", "No space left on device"), ("ro", "rw", "Read-only file system")],
)
def test_a_disk_that_fills_up_or_turns_read_only_is_a_clear_error_and_what_was_written_stands(
    tmp_path: Path, trouble: str, relief: str, said: str
) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:
        journal = journal_in(disk.folder)
        journal.record(OutcomeRow.of(OUTCOME))
        journal.flush()
        journal.record(OutcomeRow.of(replace(OUTCOME, key="k2")))
        disk.remount(trouble)
        with pytest.raises(UserError, match=f"cannot write journal/.*{said}"):
            journal.flush()
        assert keys(journal_in(disk.folder)) == ["k1"]
        assert not list(disk.folder.rglob("*.tmp"))
        disk.remount(relief)
        journal.flush()
        assert keys(journal_in(disk.folder)) == ["k1", "k2"]
