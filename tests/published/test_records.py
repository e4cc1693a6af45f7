"""Recorded rounds: read whole, and their own statistics and choices found again."""

import json
from pathlib import Path

import pytest

from seal_ray.published import kept_rows, overall_stats, passage_stats, read_record
from seal_ray.published.import_record import import_record
from seal_ray.published.stats import completion_stats
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
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


def round_of(path: Path, *passages: list[dict[str, object]]) -> Path:
    """A recorded round whose self-edits hold these fields beside their texts."""
    articles = [
        {
            "title": f"passage {number}",
            "context": "",
            "completions": [{"text": f"note {i}", "questions": [], **each} for i, each in enumerate(found)],
        }
        for number, found in enumerate(passages)
    ]
    path.write_text(json.dumps({"articles": articles}))
    return path


def means(*rewards: float) -> list[dict[str, object]]:
    return [{"stats": {"adapter_mean": reward}} for reward in rewards]


def test_a_round_that_holds_statistics_but_no_verdicts_is_chosen_from_by_them(tmp_path: Path) -> None:
    path = round_of(tmp_path / "round.json", means(0.2, 0.6, 0.4), means(0.5, 0.5), means(0.0, 0.0, 0.1))
    assert [row["completion"] for row in kept_rows(read_record(path))] == ["note 1", "note 0", "note 2"]

    assert import_record(str(path), str(tmp_path / "run")) == 8
    journal = Journal(Store(str(tmp_path / "run")))
    assert [(row["index"], row["reward"]) for row in journal.rows("kept")] == [(1, 0.6), (0, 0.5), (2, 0.1)]
    assert sorted(row["reward"] for row in journal.rows("outcomes")) == [0.0, 0.0, 0.1, 0.2, 0.4, 0.5, 0.5, 0.6]


def test_of_self_edits_about_which_nothing_is_recorded_none_is_best_and_none_is_imported_as_kept(
    tmp_path: Path,
) -> None:
    path = round_of(tmp_path / "round.json", [{}, {}])
    with pytest.raises(UserError, match="'passage 0': 2 self-edits without verdicts or statistics, so none is best"):
        kept_rows(read_record(path))
    import_record(str(path), str(tmp_path / "run"))
    journal = Journal(Store(str(tmp_path / "run")))
    assert [row["completion"] for row in journal.rows("self_edits")] == ["note 0", "note 1"]
    assert list(journal.rows("kept")) == []


@pytest.mark.parametrize(
    ("passage", "said"),
    [
        ([*means(0.4), {}], "self-edit 1 of 'passage 0' has neither verdicts nor statistics"),
        (means(0.4, 7.0), "adapter_mean of 7.0 is no accuracy"),
        (means(0.4, float("nan")), "adapter_mean of nan is no accuracy"),
    ],
)
def test_a_round_whose_statistics_are_incomplete_or_none_is_refused_and_nothing_is_written(
    tmp_path: Path, passage: list[dict[str, object]], said: str
) -> None:
    path = round_of(tmp_path / "round.json", passage)
    with pytest.raises(UserError, match=said):
        import_record(str(path), str(tmp_path / "run"))
    assert not list((tmp_path / "run").rglob("*.parquet"))
    assert not (tmp_path / "run/config.json").exists()


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
