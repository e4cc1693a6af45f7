"""What documents are best learnt by: from what was measured, and never as if more had been."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.config import load
from seal_ray.domains.registry import load_domain
from seal_ray.learning.advice import advise
from seal_ray.learning.curves import of_runs, parameters_of, shipped
from seal_ray.methods.base import METHODS
from seal_ray.record.journal import Journal
from seal_ray.record.methods import METHODS as STAGE
from seal_ray.record.methods import Arm
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow, StudyRow
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import claimed
from seal_ray.rundir.identity import identify
from seal_ray.types import UserError

JOB = Path(__file__).parents[2] / "jobs/methods.toml"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    file = tmp_path / "notes.md"
    file.write_text("# The bridge\n\nAda Quill built it in 1907.\n\n# The ferry\n\nIt ran on Mondays until 1906.\n")
    return file


def advised(notes: Path, each: float, *measured: str, of="trained", model="microworld"):
    """What is said where there are so many tokens for each token of the notes."""
    tokens = advise([notes], 10**9, model=model).material.tokens
    return advise([notes], round(each * tokens), of, model, measured)


def test_the_cheapest_is_taken_of_those_that_are_not_told_apart_from_the_best(notes: Path) -> None:
    (curves,) = shipped()
    by_name = {(point.method, point.texts): curves.cost(point, "trained") for point in curves.points}
    found = advised(notes, 1.01 * by_name["qa", 5])
    assert (found.best.method, found.chosen.method, found.chosen.texts) == ("qa", "spa", 5)
    assert found.chosen.accuracy >= found.best.low
    assert found.takes == pytest.approx(by_name["spa", 5] * found.material.tokens, abs=1)
    assert advised(notes, 1.01 * by_name["passage", 0]).chosen.method == "passage"


def test_written_tokens_are_another_budget_than_trained_ones(notes: Path) -> None:
    assert advised(notes, 1.0, of="written").chosen.method in ("spa", "passage")
    with pytest.raises(
        UserError, match=r"the least that was measured is 15\.00 \(passage alone\); nothing is known of less"
    ):
        advised(notes, 1.0)


def test_what_is_beyond_all_that_was_measured_and_how_far_off_that_was_is_said(
    notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["advise", str(notes), "--budget", "900000", "--model", "qwen2.5-7b"])
    said = " ".join(capsys.readouterr().out.split())
    assert "a guess: " in said
    assert "what more would do is not known" in said
    assert "far off: what was learnt there were texts on invented people" in said
    assert "that model had 0.5 million weights, and qwen2.5-7b has 7,6" in said
    with pytest.raises(SystemExit, match="0"):
        main(["advise", str(notes), "--budget", "900000", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["beyond"] > 1
    assert told["chosen"]["method"] in METHODS
    assert shlex.split(told["command"])[:3] == ["seal-ray", "learn", str(notes)]


def test_the_command_that_does_it_is_printed_whole_in_lines_of_80_columns(
    notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = advised(notes, 300.0, model="microworld")
    assert found.command[2:] == [
        *(str(notes), "--method", "spa", "--texts", "5", "--model", "microworld", "--update.optim.epochs", "15")
    ]
    assert "--texts" not in advised(notes, 16.0).command, "the passage alone has none"
    lines = list(replace(found, files=("a.md", "my notes.md")).lines())
    assert all(len(line) <= 80 for line in lines)
    begin = next(number for number, line in enumerate(lines) if line.startswith("do it by: "))
    end = next(number for number, line in enumerate(lines) if number >= begin and not line.endswith("\\"))
    said = "\n".join(lines[begin : end + 1]).removeprefix("do it by: ")
    assert shlex.split(said.replace("\\\n", "")) == ["seal-ray", "learn", "a.md", "my notes.md", *found.command[3:]]


def test_what_ships_holds_measured_figures_of_methods_that_there_are() -> None:
    for curves in shipped():
        assert parameters_of(curves.model) == curves.parameters
        assert {point.method for point in curves.points} <= METHODS.keys()
        assert all(point.low <= point.accuracy <= point.high for point in curves.points)
        assert all(point.run in curves.runs for point in curves.points)
        page = (Path(__file__).parents[2] / "docs/methods.md").read_text()
        for point in curves.points:
            assert f"| {100 * point.accuracy:.1f} % ({100 * point.low:.1f} – {100 * point.high:.1f}) |" in page


def measured(folder: Path, passages: int, *settings: str, **accuracies: float) -> str:
    """A run in which each of these methods came to so much with one text of each passage; `passage` with none."""
    config = load(JOB, ["--run.dir", str(folder), "--run.rounds", "0", *settings])
    store, domain = Store(str(folder)), load_domain(config)
    with claimed(store, config, identify(config, domain)) as claim:
        journal = Journal(store, claim.run)
        journal.begin()
        for name, accuracy in accuracies.items():
            arm = Arm(name, int(name != "passage"))
            for number in range(passages):
                task, trial = f"task {number}", f"{name} {number}"
                edits = (trial,) if arm.texts else ()
                journal.record(SelfEditRow(trial, task_id=task, completion="so it is", tokens=60))
                journal.record(StudyRow(trial, task, name, arm.texts, edits, trial))
                journal.record(PlannedRow.at(STAGE, arm.name, task, 0, 0, trial, recipe=trial))
                journal.record(OutcomeRow(trial, reward=accuracy, tokens=450 + 450 * arm.texts))
        journal.flush()
    return str(folder)


def test_a_run_of_ones_own_is_gone_by_instead(notes: Path, tmp_path: Path) -> None:
    mine = measured(tmp_path / "mine", 8, passage=0.3, rephrase=0.9, qa=0.5)
    found = advised(notes, 31.0, mine)
    assert (found.chosen.method, found.curves.passage, found.curves.tasks) == ("rephrase", 30, 8)
    assert "near:" not in " ".join(found.lines()), "the micro-world is no document"
    assert advised(notes, 29.0, mine).chosen.method == "passage"


def test_what_learn_cannot_do_is_not_advised(notes: Path, tmp_path: Path) -> None:
    mine = measured(tmp_path / "mine", 8, passage=0.3, seal=0.95, qa=0.5, past=0.99, **{"gone:Method": 0.9})
    found = advised(notes, 31.0, mine)
    assert {point.method for point in found.curves.points} == {"passage", "qa"}
    assert found.chosen.method == "qa"


def test_a_run_that_measured_too_little_is_refused(tmp_path: Path) -> None:
    for name, passages, methods in (
        ("few", 2, {"passage": 0.3, "qa": 0.5}),
        ("no passage", 8, {"qa": 0.5}),
        ("none", 0, {}),
    ):
        with pytest.raises(UserError, match="holds too little to go by"):
            of_runs([measured(tmp_path / name, passages, **methods)])


def test_runs_of_unlike_epochs_are_not_taken_together(tmp_path: Path) -> None:
    one = measured(tmp_path / "one", 8, passage=0.3, qa=0.5)
    other = measured(tmp_path / "other", 8, "--trial.optim.epochs", "2", passage=0.2, spa=0.6)
    with pytest.raises(UserError, match=r"for 2 epochs is not microworld on microworld for 15 epochs; give runs of"):
        of_runs([one, other])
    assert {point.method for point in of_runs([one]).points} == {"passage", "qa"}
