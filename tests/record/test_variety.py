"""How varied texts are, and a round whose self-edits became much more alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.record.variety import near_duplicates, variety, words
from seal_ray.record.written import by_round, by_strategy
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from tests.report.build import NOTE, FakeRun

OLD_RUN = Path(__file__).parents[1] / "data/run-0.1.0"
UNLIKE = {
    0: "the bridge was built in 1907 by a mason",
    1: "question: who built it? answer: a mason of the town",
    2: "bridges need arches, and arches need stones",
    3: "in the year 1907 there was no other way across",
    4: "a river; two banks; one bridge",
}


def test_a_text_that_hardly_differs_from_an_earlier_one_of_its_task_is_a_near_duplicate() -> None:
    long = " ".join(UNLIKE.values())
    assert near_duplicates([long, long.replace("river", "stream"), long.upper(), NOTE]) == [False, True, True, False]
    assert not any(near_duplicates(list(UNLIKE.values())))
    assert near_duplicates(["one", "one", "", ""]) == [False, True, False, True]
    assert near_duplicates([]) == []


def test_new_words_pairs_and_triples_are_counted_within_lines() -> None:
    found = variety([["a b c\na b d"]])
    assert found["distinct words"] == pytest.approx(4 / 6)
    assert found["distinct pairs"] == pytest.approx(3 / 4)
    assert found["distinct triples"] == 1.0


@pytest.mark.parametrize(
    ("text", "other", "unlike"),
    [
        ("渡船烧菜籽油。船长叫英格丽。", "渡船烧菜籽油。船长叫英格玛。", "灯塔建于一八七一年，用红色花岗岩。"),
        ("フェリーは菜種油で走ります。", "フェリーは菜種油で走りますよ。", "灯台は赤い花崗岩でできている。"),
        ("เรือข้ามฟากใช้น้ำมันเรพซีด", "เรือข้ามฟากใช้น้ำมันเรพซีดี", "ประภาคารสร้างด้วยหินแกรนิตสีแดง"),
    ],
)
def test_where_no_spaces_are_set_each_character_counts(text: str, other: str, unlike: str) -> None:
    assert near_duplicates([text, other, unlike]) == [False, True, False]
    assert variety([[text, f"{text} Halvard"]])["distinct words"] == pytest.approx(
        len({*words(text), "halvard"}) / (2 * len(words(text)) + 1)
    )


def journal_of(folder: Path, *texts: dict[int, str]) -> FakeRun:
    made = FakeRun(str(folder), seeds=1)
    made.write_config()
    for number, own in enumerate(texts, 1):
        made.explore(number, 0.5, own)
    made.journal.flush()
    return made


def test_a_round_whose_self_edits_are_much_more_alike_than_the_first_ones_is_warned_of(tmp_path: Path) -> None:
    made = journal_of(tmp_path, UNLIKE, dict.fromkeys(range(5), NOTE))
    first, second = by_round([Journal(Store(made.url))])
    assert (first["near duplicates"], first["warning"]) == (0.0, "")
    assert second["near duplicates"] == 0.8
    assert second["warning"].startswith("round 2: its self-edits are much more alike than those of round 1: 80%")
    page = render(read_run(made.url))
    assert "much more alike than those of round 1" in page


def test_rounds_that_stay_as_varied_are_not_warned_of_and_without_strategies_there_is_no_table(tmp_path: Path) -> None:
    made = journal_of(tmp_path, UNLIKE, UNLIKE)
    journal = Journal(Store(made.url))
    assert [row["warning"] for row in by_round([journal])] == ["", ""]
    assert by_strategy([journal]) == []
    page = render(read_run(made.url))
    assert "near duplicates" in page
    assert "What each strategy gained" not in page


def test_self_edits_of_an_older_version_have_no_strategy_and_are_read_as_they_are() -> None:
    journal = Journal(Store(str(OLD_RUN)))
    assert {row["strategy"] for row in by_round([journal])} == {None}
    assert by_strategy([journal]) == []


def test_a_run_without_rounds_has_nothing_to_say_of_them(tmp_path: Path) -> None:
    assert by_round([Journal(Store(str(tmp_path)))]) == []
