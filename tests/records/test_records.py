"""Recorded rounds: read whole, and their own statistics and choices found again."""

import json
from pathlib import Path

import pytest

from seal_ray.records import kept_rows, overall_stats, passage_stats, read_record
from seal_ray.records.stats import completion_stats
from seal_ray.types import UserError
from tests.shared import SHARED, needs_shared

RECORDS = SHARED / "data/seal_records"


@needs_shared
@pytest.mark.parametrize("name", ["rank_iter0.json", "eval_base.json"])
def test_every_recorded_statistic_follows_from_the_recorded_verdicts(name: str) -> None:
    record = read_record(RECORDS / name)
    assert overall_stats(record) == dict(record.overall)
    for passage in record.passages:
        assert passage_stats(passage) == dict(passage.stats)
        for completion in passage.completions:
            assert completion_stats(completion) == pytest.approx(dict(completion.stats), abs=1e-12)


@needs_shared
def test_the_kept_self_edits_are_the_recorded_fifty() -> None:
    kept = kept_rows(read_record(RECORDS / "rank_iter0.json"))
    recorded = [json.loads(line) for line in (RECORDS / "sft_best1of5_iter0.jsonl").open(encoding="utf-8")]
    assert len(kept) == 50
    assert kept == recorded


@needs_shared
def test_kept_self_edits_read_back_as_they_were_written() -> None:
    path = RECORDS / "sft_best1of5_iter0.jsonl"
    assert kept_rows(read_record(path)) == [json.loads(line) for line in path.open(encoding="utf-8")]


@needs_shared
@pytest.mark.parametrize(
    ("name", "passages", "each"), [("iter0_train.json", 100, 10), ("iter0_train_self_qa.json", 50, 5)]
)
def test_sampled_completions_are_read_with_their_questions(name: str, passages: int, each: int) -> None:
    record = read_record(RECORDS / name)
    assert len(record.passages) == passages
    assert {len(passage.completions) for passage in record.passages} == {each}
    assert all(passage.questions and passage.prompt for passage in record.passages)
    with pytest.raises(UserError, match="no verdicts"):
        overall_stats(record)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"results": []}', "not a recorded round"),
        (b"{", "not valid JSON"),
        (b'["a"]', "not a recorded round"),
        (b'{"articles": 3}', "not a recorded round"),
        (b"\xff\xfe\x00", "UTF-8"),
        (None, "no such record"),
    ],
)
def test_a_file_that_is_no_record_is_refused_in_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "round.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        read_record(path)
    assert "\n" not in str(caught.value)
    assert "round.json" in str(caught.value)
