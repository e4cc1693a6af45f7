"""A figure of which many answers are empty, or ran on until they were cut off, is marked wherever it stands."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.config import load
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import as_json, doubts, print_table, summarize
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.types import Outcome
from tests.workers.tiny import write_model

OLD = Path(__file__).parents[1] / "data/run-0.1.0"
FINE, EMPTY, RAN_ON = ("Velm", False), (" \n", False), ("and and and", True)


def journal(folder: Path, **arms: list[tuple[str, bool]]) -> Journal:
    """One task for each answer."""
    made = Journal(Store(str(folder)))
    for arm, answers in arms.items():
        for number, (answer, cut) in enumerate(answers):
            key = f"{arm}-{number}"
            made.record(PlannedRow.at("evaluation", arm, f"t{number}", 0, 0, key, recipe="", policy=0, seed=0))
            made.record(OutcomeRow.of(Outcome(key, (answer,), verdicts=(0.5,), reward=0.5, cut=(cut,))))
    made.flush()
    return made


def test_a_tenth_of_such_answers_is_no_matter_and_more_is_said_in_table_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = journal(tmp_path, sound=[FINE] * 9 + [EMPTY], poor=[FINE] * 8 + [EMPTY, RAN_ON])
    found = summarize(made)
    assert (found["sound"].empty, found["sound"].cut, found["sound"].doubt) == (0.1, 0.0, "")
    assert doubts(found)[0] == "(!) poor: 10.0% of its answers are empty, 10.0% cut off"
    print_table(found)
    said = capsys.readouterr().out
    assert "50.0% (!)" in said
    assert said.count("(!)") == 2
    assert "seal-ray doctor" in said
    assert [as_json(found)[arm]["cut"] for arm in ("sound", "poor")] == [0.0, 0.1]


def test_arms_of_several_runs_are_taken_together_by_their_answers(tmp_path: Path) -> None:
    one, two = journal(tmp_path / "one", base=[RAN_ON]), journal(tmp_path / "two", base=[FINE] * 3)
    assert summarize(one, two)["base"].cut == 0.25


def test_a_record_of_before_says_nothing_of_answers_that_were_cut_off(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "run")
    old = Journal(Store(str(tmp_path / "run")))
    assert {row.cut for row in old.read(OutcomeRow)} == {()}
    found = summarize(old)
    assert found
    assert {m.cut for m in found.values()} == {None}
    assert replace(found["base"], empty=0.2).doubt.endswith("of how many were cut off there is no record")


def test_the_page_and_the_chart_say_it_beside_the_figure(tmp_path: Path) -> None:
    journal(tmp_path, **{"base": [EMPTY] * 4, "untrained self-edits": [FINE] * 4})
    page = render(read_run(str(tmp_path)))
    assert page.count("100.0% of its answers are empty, 0.0% cut off") >= 2


def test_a_run_writes_down_which_answers_were_cut_off(tmp_path: Path) -> None:
    asked = [{"question": "Which?", "answer": "That."}]
    passages = [{"title": f"T{n}", "context": f"Fact {n}.", "questions": asked} for n in range(4)]
    (tmp_path / "passages.jsonl").write_text("\n".join(map(json.dumps, passages)))
    model = write_model(tmp_path / "model")
    (tmp_path / "run.toml").write_text(f"""
        [run]
        rounds = 0
        dir = "{tmp_path}/run"
        [model]
        path = "{model}"
        dtype = "float32"
        [domain]
        name = "knowledge"
        test = 4
        options = {{ train = "passages.jsonl", test_fraction = 1.0 }}
        [trial]
        answer_tokens = 5
        [evaluation]
        baselines = ["base"]
        samples = 0
        [workers]
        address = "in-process"
    """)
    found = run(load(tmp_path / "run.toml"), Silent())["base"]
    rows = list(Journal(Store(str(tmp_path / "run"))).read(OutcomeRow))
    assert [len(row.cut) for row in rows] == [1] * 4
    assert found.cut == sum(row.cut[0] for row in rows) / 4
    assert found.cut > 0.1  # random weights do not know when to stop
    assert found.doubt
