"""A skill of answering is learnt once on training passages, and lies under what each passage is trained on."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.config import Update, load
from seal_ray.loop.again import _beside
from seal_ray.loop.run import run
from seal_ray.methods.past import ANSWERS, PARTS, UPDATES, Answered, skill_update
from seal_ray.plan.measure import measure
from seal_ray.policy import adapters
from seal_ray.policy.repair import repair_policies
from seal_ray.record.journal import Journal
from seal_ray.record.methods import by_method
from seal_ray.record.rows import OutcomeRow, PlannedRow, SkillRow
from seal_ray.record.segments import Damaged
from seal_ray.record.storage import Store
from seal_ray.report.data import read_run
from seal_ray.types import AdapterRef, UserError
from tests.methods.victim import measured
from tests.runs import results

JOB = Path(__file__).parents[2] / "jobs/methods.toml"
TASKS = 2
SMALL = [
    *("--run.rounds", "0", "--domain.train", str(TASKS), "--domain.test", "2", "--evaluation.samples", "0"),
    *("--evaluation.baselines", "[]", "--evaluation.methods", '["passage", "past"]', "--trial.optim.epochs", "12"),
    *("--domain.options.directions", '["forward"]'),
]
QA = ("--evaluation.methods", '["qa"]', "--evaluation.texts", "[1]")


def journal_of(folder: Path) -> Journal:
    return Journal(Store(str(folder)))


def skills(folder: Path) -> list[SkillRow]:
    return sorted(journal_of(folder).read(SkillRow), key=lambda row: row.version)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("past") / "run"
    run(load(JOB, [*SMALL, "--run.dir", str(folder)]))
    return folder


def test_passages_are_read_and_then_answers_about_them_are_learnt_from(done: Path) -> None:
    rows = skills(done)
    read, updates = [row for row in rows if not row.answers], [row for row in rows if row.answers]
    assert len(read) == min(PARTS, TASKS)
    assert 0 < len(updates) <= UPDATES * len(read)
    assert {row.answers for row in updates} == {6 * ANSWERS}, "of the six questions on one passage a part"
    assert [row.rank for row in updates] == [16 * number for number in range(1, len(updates) + 1)]
    assert all(row.trained and 0 < row.right < 1 and row.written for row in updates)


def test_passages_are_trained_on_top_of_the_skill(done: Path) -> None:
    outcomes = {row.key: row for row in journal_of(done).read(OutcomeRow)}
    arms: dict[str, list[OutcomeRow]] = {"passage": [], "past": []}
    for row in journal_of(done).read(PlannedRow):
        arms[row.arm].append(outcomes[row.trial])
    assert len(arms["passage"]) == len(arms["past"]) == 2
    assert [row.tokens for row in arms["passage"]] == [row.tokens for row in arms["past"]]
    assert [row.first_loss for row in arms["passage"]] != [row.first_loss for row in arms["past"]]


def test_what_the_skill_took_is_told_and_shared_out(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = (row for row in by_method([journal_of(done)]) if row["method"] == "past")
    took = sum(step.trained for step in skills(done))
    assert (row["skill"]["trained"], row["skill"]["trained each"]) == (took, took / 2)
    assert row["skill"]["passages"] == TASKS
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(done)])
    said = " ".join(capsys.readouterr().out.split())
    assert f"past: its skill was learnt once, beside that row, on 2 passages: {took:,} tokens trained on" in said
    assert "GFLOP" in said


def test_a_skills_answers_are_no_trials_wherever_trials_are_counted(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = {row.trial: row for row in journal_of(done).read(PlannedRow)}
    ended = list(journal_of(done).read(OutcomeRow))
    assert len(trials) == 4 < len(ended)
    with pytest.raises(SystemExit, match="0"):
        main(["explain", str(done), "--json"])
    assert {row["trial"] for row in json.loads(capsys.readouterr().out)} == trials.keys()
    with pytest.raises(SystemExit, match="0"):
        main(["compare", str(done), str(done), "--json"])
    assert [each["trials"] for each in json.loads(capsys.readouterr().out)] == [4, 4]
    with pytest.raises(SystemExit, match="0"):
        main(["watch", str(done), "--once"])
    assert "failures: none of 4 trials" in capsys.readouterr().out
    totals = read_run(str(done)).totals
    assert (totals.trials, totals.trained_tokens) == (4, sum(row.tokens for row in ended if row.key in trials))
    assert _beside(Store(str(done)), Store(str(done))) == (4, (), 0)


def test_the_same_command_does_nothing_anew(done: Path) -> None:
    before, steps = results(done), skills(done)
    run(load(JOB, [*SMALL, "--run.dir", str(done)]))
    assert (results(done), skills(done)) == (before, steps)


def test_a_plan_is_not_made_from_a_run_whose_samplers_wrote_a_skills_answers(done: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "run"))
    run(config := load(JOB, [*SMALL, *QA, "--run.dir", str(folder)]))
    with pytest.raises(UserError, match="a skill's answers among self-edits here; give a run without one"):
        measure(str(folder), config)


@pytest.mark.slow
def test_a_skill_is_the_same_however_often_its_command_is_killed(done: Path, tmp_path: Path) -> None:
    said, folder = tmp_path / "said", tmp_path / "killed"
    arguments = [str(JOB), *SMALL, "--run.dir", str(folder)]
    for moment in (("outcomes", 5, False), ("skills", 2, True), ("skills", 2, False), ("outcomes", 12, True)):
        assert measured(arguments, said, *moment) == -signal.SIGKILL
    assert measured(arguments, said) == 0
    assert [row.adapter for row in skills(folder)] == [row.adapter for row in skills(done)]
    assert results(folder)["rewards"] == results(done)["rewards"]


def test_a_skill_that_is_damaged_is_named_and_learnt_again_after_repair(done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(done, folder)
    before = skills(folder)
    last = AdapterRef(before[-1].adapter)
    weights = folder / adapters.folder_of(last) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\1\0")
    with pytest.raises(Damaged, match="seal-ray repair"):
        run(load(JOB, [*SMALL, "--run.dir", str(folder)]))
    assert "step of the skill" in repair_policies(Store(str(folder)))[0]
    run(load(JOB, [*SMALL, "--run.dir", str(folder)]))
    assert [row.adapter for row in skills(folder)] == [row.adapter for row in before]


def test_where_a_server_writes_there_is_no_skill_to_be_learnt(tmp_path: Path) -> None:
    by_server = [
        "--sampling.engine",
        "endpoint",
        "--sampling.endpoint",
        "http://127.0.0.1:9/v1",
        "--sampling.key_env",
        "",
    ]
    with pytest.raises(UserError, match=r'sampling\.engine is "endpoint"; choose another engine, or leave "past" out'):
        run(load(JOB, [*SMALL, *by_server, "--run.dir", str(tmp_path / "none")]))
    assert not (tmp_path / "none").exists()


def test_what_is_learnt_of_a_question_is_how_its_answers_differ() -> None:
    split = [Answered("who?", said, verdict) for said, verdict in (("Ada", 1.0), ("Odo", 0.0), ("Ida", 0.0), ("", 0.0))]
    alike = [Answered("when?", str(year), 1.0) for year in range(4)]
    found = skill_update([split, alike], Update(), seed=3)
    assert found
    assert [(each.prompt, each.completion, each.weight, each.whole) for each in found.examples] == [
        ("who?", "Ada", 0.75, False),
        ("who?", "Odo", -0.25, False),
        ("who?", "Ida", -0.25, False),
    ]
    assert found.optim.epochs == 1
    assert skill_update([alike], Update(), seed=3) is None


def test_a_planned_run_learns_a_skill_too(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for methods in ('["passage"]', '["passage", "past"]'):
        with pytest.raises(SystemExit, match="0"):
            main(["plan", str(JOB), *SMALL, "--gpu", "H100", "--gpus", "1", "--evaluation.methods", methods, "--json"])
        found.append(json.loads(capsys.readouterr().out))
    without, planned = found
    assert without["tokens_sampled"] == 0 < planned["tokens_sampled"]
    assert planned["tokens_trained"] > 2 * without["tokens_trained"]


def test_a_run_without_self_edits_is_none_to_plan_by(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["plan", str(JOB), *SMALL, "--from", str(done)])
    assert "wrote no self-edits here, only questions or answers; give another run" in capsys.readouterr().err
