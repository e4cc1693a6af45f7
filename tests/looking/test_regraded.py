"""Recorded answers under another grader, and arms held to one of them, without training anything again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.config import load
from seal_ray.domains.base import Split
from seal_ray.domains.registry import load_domain
from seal_ray.loop.session import open_run
from seal_ray.record.differences import Difference, held_to
from seal_ray.record.rows import OutcomeRow, PlannedRow, QuestionRow
from seal_ray.record.summary import Measured
from seal_ray.rundir.identity import identify

JOB = Path(__file__).parents[2] / "jobs" / "knowledge_small.toml"
GRADED = {"base": ("nobody knows", 0.0), "passage only": ("{gold}, and more beside it", 1.0)}
"""An answer of each arm, in which the gold one may stand, and what the run's own grader made of it."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of which two arms of two tasks are on record; one trial failed."""
    return measured_in(tmp_path_factory.mktemp("graded"), JOB.parent / "passages.jsonl")


def measured_in(folder: Path, passages: Path, split_with_written_questions: Split = "train") -> str:
    """The directory of such a run, of whose tasks one of this split is on record as given its questions by a model."""
    named = ["--run.dir", str(folder / "run"), "--domain.options.train", str(passages)]
    config = load(JOB, [*named, "--model.path", "microworld", "--grading.name", "offline"])
    domain = load_domain(config)
    with open_run(config, domain, identify(config, domain)) as opened:
        for arm, (answer, reward) in GRADED.items():
            for task in domain.tasks("test", config.domain.test, config.run.seed):
                key = f"{arm} {task.id}"
                answers = tuple(answer.format(gold=question.answer) for question in task.questions)
                opened.events.emit(PlannedRow.at("evaluation", arm, task.id, 0, 0, key))
                opened.events.emit(OutcomeRow(key, reward=reward, answers=answers))
            opened.events.emit(PlannedRow.at("evaluation", arm, task.id, 0, 1, f"{arm} failed"))
            opened.events.emit(OutcomeRow(f"{arm} failed", reward=0.0, failure="oom", reason="no room"))
        written, *_ = domain.tasks(split_with_written_questions, 2, config.run.seed)
        opened.events.emit(QuestionRow("written", written.id, "Question 1:", "Is it? Answer: Yes", "base"))
    return config.run.dir


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    with pytest.raises(SystemExit, match="0"):
        main(["eval", *arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_recorded_answers_are_graded_anew_and_failed_trials_stay_failed(
    directory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, exact, f1 = (said(capsys, directory, *more) for more in ([], ["--grader", "exact"], ["--grader", "f1"]))
    assert [each["passage only"]["accuracy"] for each in (before, exact)] == [0.75, 0.0]
    assert 0.0 == f1["base"]["accuracy"] < f1["passage only"]["accuracy"] < 0.75
    assert before["base"]["failed"] == f1["base"]["failed"] > 0
    assert said(capsys, directory) == before, "nothing was written"


def test_the_run_s_own_grader_comes_to_what_is_on_record(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    own = said(capsys, directory, "--grader", "offline")
    assert own["passage only"]["accuracy"] == pytest.approx(0.75, abs=0.05)
    assert own["base"]["accuracy"] == pytest.approx(0.0, abs=0.05)


def test_arms_are_held_to_one_of_them(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, directory, "--over", "base", "--grader", "f1")
    few = "no interval: fewer than 6 tasks in common"
    mean = found["passage only"]["accuracy"]
    assert found["over"] == {
        "base": {
            "passage only": {"mean": pytest.approx(mean, abs=1e-4), "low": None, "high": None, "tasks": 2, "why": few}
        }
    }
    with pytest.raises(SystemExit, match="0"):
        main(["eval", directory, "--over", "base"])
    assert "over base, in points, by task:\npassage only  +75.0, 2 tasks" in capsys.readouterr().out


def test_what_cannot_be_graded_or_compared_is_one_line(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    for more, why in (
        (["--grader", "exakt"], "unknown grading.name 'exakt'; did you mean 'exact'?"),
        (["--grader", "local judge"], "this one asks the run's own model"),
        (["--over", "passage"], "there are: base, passage only"),
    ):
        with pytest.raises(SystemExit):
            main(["eval", directory, *more])
        assert why in capsys.readouterr().err


def test_held_out_questions_that_a_model_wrote_are_not_graded_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["eval", measured_in(tmp_path, JOB.parent / "passages.jsonl", "test"), "--grader", "f1"])
    assert "a model wrote held-out questions of it" in capsys.readouterr().err


def test_a_source_that_is_another_since_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "passages.jsonl"
    source.write_text((JOB.parent / "passages.jsonl").read_text())
    directory = measured_in(tmp_path, source)
    source.write_text(source.read_text().replace('"title": "', '"title": "Once more: '))
    with pytest.raises(SystemExit):
        main(["eval", directory, "--grader", "f1"])
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{directory}: --grader: 2 of its held-out tasks" in line
    assert "put that back as it was when the run began" in line


def test_tasks_of_several_runs_are_held_each_to_itself() -> None:
    def run(seed: int, **arms: list[float]) -> dict[str, Measured]:
        return {arm: Measured({f"{seed}-{i}": [each] for i, each in enumerate(all)}) for arm, all in arms.items()}

    few = run(1, base=[0.0, 0.5, 1.0], better=[0.5, 1.0, 1.0])
    runs = [few, run(2, base=[0.0] * 4, better=[0.25] * 4), run(3, base=[0.7])]
    found = held_to("base", runs)["better"]
    assert isinstance(found, Difference)
    assert (found.mean, found.tasks) == (pytest.approx(2 / 7), 7)
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < 2 / 7 < found.high
