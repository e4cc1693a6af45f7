"""The whole of it on the micro-world: what is tried and where, what a kill loses, and what is refused."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seal_ray.cli.app import main
from seal_ray.config import Config, load
from seal_ray.domains.base import Baseline, Split
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.domains.microworld.world import MicroTask
from seal_ray.looking.explained import explain
from seal_ray.looking.explanation import lines
from seal_ray.looking.listing import runs_below
from seal_ray.observe.progress import Silent
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.record.storage import Store
from seal_ray.record.written import SCREENING
from seal_ray.rundir.directory import recorded_config, refuse_another
from seal_ray.rundir.tuned import STAGE, refuse_tuned
from seal_ray.tuning import tune
from seal_ray.tuning.account import OVERLAY, Account
from seal_ray.tuning.space import Settings
from seal_ray.types import Example, Grade, Task, UserError
from tests.in_process import CountingCluster
from tests.runs import CONFIG, kill_when, rows_on_disk
from tests.warm import Command

SMALL = ["--workers.address", "in-process", "--domain.train", "8", "--domain.test", "4", "--trial.optim.epochs", "4"]
FEW: dict[str, Any] = {"trials": 30, "axes": "rank=1,2,4,8 lr", "on": "passage"}
AS_WORDS = ["--trials", "30", "--axes", FEW["axes"], "--on", "passage", "--quiet"]


class WithoutPassages(MicroWorld):
    """Knows no way to train on a passage alone."""

    def baseline(self, name: str, task: Task, seed: int) -> Baseline | None:
        return None if name == "passage only" else super().baseline(name, task, seed)


class WithoutTraining(MicroWorld):
    def tasks(self, split: Split, count: int | None, seed: int) -> Sequence[MicroTask]:
        return [] if split == "train" else super().tasks(split, count, seed)


class Known(MicroWorld):
    """Takes every answer for right."""

    async def grade(self, task: Task, answers: Sequence[str]) -> Grade:
        return Grade((1.0,) * len(answers), 1.0)


class Unlearnable(MicroWorld):
    """Has no text with a token to learn."""

    def text(self, task: Task) -> tuple[Example, ...]:
        return (Example(""),)


def config_in(folder: Path, *more: str) -> Config:
    return load(CONFIG, [*SMALL, "--run.dir", str(folder), *more])


def own(domain: type) -> list[str]:
    return ["--domain.name", f"tests.tuning.test_tune:{domain.__name__}"]


def rows(folder: Path, kind: type) -> list[Any]:
    return list(Journal(Store(str(folder))).read(kind))


@pytest.fixture(autouse=True)
def _counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seal_ray.workers.in_process.InProcessCluster", CountingCluster)
    CountingCluster.done.clear()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Account]:
    folder = tmp_path_factory.mktemp("tune") / "run"
    return Path(f"{folder}-tune"), tune(config_in(folder), Silent(), **FEW)


def test_settings_are_tried_on_training_tasks_alone(done: tuple[Path, Account]) -> None:
    folder, account = done
    planned = rows(folder, PlannedRow)
    assert {row.stage for row in planned} == {SCREENING, STAGE}
    assert all(row.task_id.startswith("train-") for row in planned)
    tried = [row for row in planned if row.stage == STAGE]
    assert {row.arm for row in tried} == {each.settings.name for each in account.tried}
    assert len(account.tried) == 8
    assert not folder.with_name("run").exists()


def test_all_start_on_the_same_tasks_and_half_go_on(done: tuple[Path, Account]) -> None:
    _, account = done
    start = next(each for each in account.tried if each.settings == account.start)
    assert account.start == Settings.of(config_in(Path("x")))
    assert start.reward.n == account.raced == 3
    assert sorted(each.reward.n for each in account.tried if each is not start).count(1) == 4
    assert any(each.front for each in account.tried)


def test_what_is_compared_is_compared_on_tasks_that_the_race_did_not_see(done: tuple[Path, Account]) -> None:
    folder, account = done
    tried = [row for row in rows(folder, PlannedRow) if row.stage == STAGE]
    assert account.compared
    assert account.fresh == 5
    compared = {each.settings.name for each in account.compared} | {account.start.name}
    dropped = next(each.settings.name for each in account.tried if each.reward.n == 1)
    seen = {row.task_id for row in tried if row.arm not in compared or row.arm == dropped}
    fresh = {row.task_id for row in tried if row.arm == account.compared[0].settings.name}
    assert len(fresh) == account.raced + account.fresh
    assert len(seen & fresh) <= account.raced
    assert account.compared[0].gain.n == 5
    assert account.chosen is None  # five tasks say nothing


def test_operations_are_those_of_the_tokens_that_trainers_counted(done: tuple[Path, Account]) -> None:
    folder, account = done
    tokens = {row.key: row.tokens for row in rows(folder, OutcomeRow)}
    of_task = {row.task_id: tokens[row.trial] for row in rows(folder, PlannedRow) if row.arm == account.start.name}
    start = next(each for each in account.tried if each.settings == account.start)
    per_token = start.flops / (sum(of_task.values()) / len(of_task))
    assert 4 * 400_000 < per_token < 6 * 1_200_000  # a model of half a million weights, and its adapter
    assert {each.bytes * 16 for each in account.tried if each.settings.lora.rank == 1} == {start.bytes}


def test_the_same_command_does_nothing_again(done: tuple[Path, Account]) -> None:
    folder, account = done
    assert tune(config_in(folder.with_name("run")), Silent(), **FEW) == account
    assert CountingCluster.done["trial"] == 0


FOR_RUNS = (
    *(
        "resume DIR",
        "eval DIR",
        "compare DIR DIR",
        "report DIR",
        "watch DIR --web",
        "ask DIR what",
        "adapters list DIR",
    ),
    *("adapters show DIR main/1", "export DIR --adapter DIR/out", "export DIR --self-edits DIR/out"),
)


@pytest.mark.parametrize("command", FOR_RUNS)
def test_commands_for_runs_say_what_the_directory_is_and_what_goes_on_with_it(
    done: tuple[Path, Account], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(command.replace("DIR", str(done[0])).split())
    said = capsys.readouterr()
    assert f"{done[0]}: holds trials of settings, by `seal-ray tune`, and no run" in said.err
    assert f"`seal-ray tune CONFIG --into {done[0]}`" in said.err
    assert said.out == ""
    assert CountingCluster.done["trial"] == 0


def test_a_trial_of_settings_is_explained_without_the_task_that_no_config_draws(done: tuple[Path, Account]) -> None:
    trial = next(row.trial for row in rows(done[0], PlannedRow) if row.stage == STAGE)
    said = "\n".join(lines(str(done[0]), explain(str(done[0]), trial)))
    assert "note: it is of `seal-ray tune`, which draws tasks of its own" in said
    assert "again: not here: it is of `seal-ray tune`" in said
    assert "wanted by: tuning, rank " in said
    assert "after: " in said


def test_another_command_that_would_have_the_directory_is_told_what_it_holds(done: tuple[Path, Account]) -> None:
    with pytest.raises(UserError, match="holds trials of settings, by `seal-ray tune`, with another config"):
        refuse_another(config_in(done[0]))


def test_a_run_is_known_by_its_config_and_nothing_of_its_record_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seal_ray.rundir.tuned.Journal", None)
    refuse_tuned("nowhere", load(CONFIG))
    refuse_tuned("nowhere", load(CONFIG.parent / "streams.toml"))
    refuse_tuned("nowhere", load(CONFIG.parent / "methods.toml"))


def test_a_tuning_is_listed_as_one_with_what_it_found(
    done: tuple[Path, Account], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = runs_below(str(done[0]))
    assert (found.state, found.tuning) == ("finished", done[1].verdict)
    half = tmp_path / "half-tune"
    shutil.copytree(done[0], half)
    (half / "tuned.json").write_text("{}")  # as where it was killed
    with pytest.raises(SystemExit, match="0"):
        main(["ls", str(tmp_path)])
    (line,) = capsys.readouterr().out.splitlines()[1:]
    assert " stopped " in line
    assert line.endswith("tuning of settings: not at its end")
    with pytest.raises(SystemExit, match="0"):
        main(["watch", str(half), "--once"])
    assert f"`seal-ray tune CONFIG --into {half}` does" in capsys.readouterr().out
    (half / "tuned.json").unlink()  # as older versions left it, whether it had ended or not
    (found,) = runs_below(str(half))
    assert found.cells()[-1].startswith("tuning of settings: by an older version")


def test_a_tuning_that_was_killed_before_its_first_trial_is_no_run(tmp_path: Path) -> None:
    class Dies(CountingCluster):
        async def hold(self, *given: Any, **more: Any) -> None:
            raise RuntimeError("the machine is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seal_ray.loop.session.open_cluster", Dies)
        with pytest.raises(RuntimeError, match="the machine is gone"):
            tune(config_in(tmp_path / "run"), Silent(), **FEW)
    folder = str(tmp_path / "run-tune")
    (found,) = runs_below(folder)
    assert (found.state, found.tuning) == ("stopped", "not at its end")
    with pytest.raises(UserError, match="holds trials of settings"):
        refuse_tuned(folder, recorded_config(folder))


def test_a_kill_loses_nothing(done: tuple[Path, Account], tmp_path: Path) -> None:
    folder = tmp_path / "run-tune"
    more = [*SMALL, "--run.dir", str(tmp_path / "run"), *AS_WORDS]
    process = Command(["tune", str(CONFIG), *more], tmp_path / "log")
    assert kill_when(process, lambda: (folder / "config.json").exists() and rows_on_disk(folder) > 12)
    kept = len(rows(folder, OutcomeRow))
    account = tune(config_in(tmp_path / "run"), Silent(), **FEW)
    assert account.as_json() | {"directory": ""} == done[1].as_json() | {"directory": ""}
    assert CountingCluster.done["trial"] == len(rows(folder, OutcomeRow)) - kept


def test_trials_train_on_self_edits_where_the_run_does_or_there_are_no_passages(tmp_path: Path) -> None:
    few: dict[str, Any] = {"trials": 30, "axes": "lr=1e-2", "into": str(tmp_path / "here")}
    account = tune(config_in(tmp_path / "run", "--domain.train", "2"), Silent(), **few)
    assert account.directory == str(tmp_path / "here")
    assert CountingCluster.done["sample"] == 2
    assert [each.reward.failed for each in account.tried] == [0, 0]
    bare = ["--domain.train", "2", "--run.rounds", "0", "--evaluation.samples", "0"]
    assert tune(config_in(tmp_path / "run", *bare), Silent(), **few).start == account.start
    assert CountingCluster.done["sample"] == 2
    few["into"] = str(tmp_path / "there")
    without = config_in(tmp_path / "run", *bare, *own(WithoutPassages))
    tune(without, Silent(), **few)
    assert CountingCluster.done["sample"] == 4
    with pytest.raises(UserError, match="has no 'passage only'"):
        tune(without, on="passage", **few)


REFUSED: dict[str, tuple[list[str], str]] = {
    "no training tasks": (own(WithoutTraining), "has no training tasks"),
    "one training task": (["--domain.train", "1"], "one training task is left"),
    "a base that knows everything": ([*own(Known), "--domain.train", "2"], "the base solves all of 2 training tasks"),
    "trials that all fail": ([*own(Unlearnable), "--domain.train", "2"], "all 2 trials failed, the first of them: "),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_tuned_is_refused_in_one_line(tmp_path: Path, why: str) -> None:
    more, said = REFUSED[why]
    with pytest.raises(UserError, match=said) as error:
        tune(config_in(tmp_path / "run", *more), Silent(), axes="lr=1e-2", on="passage")
    assert "\n" not in str(error.value)


def test_self_edits_that_decide_how_they_are_trained_leave_nothing_to_tune(tmp_path: Path) -> None:
    job = load(CONFIG.parent / "arc_small.toml", ["--run.dir", str(tmp_path / "run")])
    with pytest.raises(UserError, match="its self-edits decide how they are trained"):
        tune(job, Silent())
    assert not list(tmp_path.iterdir())


def test_another_start_does_not_go_on_with_these_trials(done: tuple[Path, Account]) -> None:
    with pytest.raises(UserError, match=r"another config \(trial.optim.epochs: 4 -> 5\)"):
        tune(config_in(done[0].with_name("run"), "--trial.optim.epochs", "5"), Silent(), **FEW)


def seal_ray(folder: Path, *more: str) -> str:
    """The command, on what is on record already; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["tune", str(CONFIG), *SMALL, "--run.dir", str(folder.with_name("run")), *AS_WORDS, *more])
    return str(ended.value)


def test_the_command_prints_a_table_and_writes_an_overlay(
    done: tuple[Path, Account], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, account = done
    for _ in range(2):  # what it wrote itself it writes again
        assert seal_ray(folder, "--write", str(tmp_path / "found.toml")) == "0"
    shown = capsys.readouterr().out
    assert account.start.name.partition(",")[0].split()[1] in shown
    assert "held to the start on 5 other training tasks" in shown
    assert account.verdict in shown
    assert account.overlay in f"{shown}\n"
    table = shown[: shown.index("# seal-ray tune")]  # what is below is a file
    assert max(map(len, table.splitlines())) <= 80
    again = load(CONFIG, ["--trial.optim.epochs", "9"], [tmp_path / "found.toml"])
    assert again.trial.lora == account.start.lora
    assert seal_ray(folder, "--json") == "0"
    tree = json.loads(capsys.readouterr().out)
    assert tree == json.loads(json.dumps(account.as_json()))
    assert tree["chosen"] is None


def test_the_command_to_run_has_all_that_was_given_but_what_was_found(
    done: tuple[Path, Account], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text("[update]\nkl_coef = 0.5\n")  # of rounds, which are not tuned
    assert seal_ray(done[0], "--overlay", str(tmp_path / "mine.toml"), "--write", str(tmp_path / "found.toml")) == "0"
    program, verb, *words = shlex.split(capsys.readouterr().err.splitlines()[-1].partition(": ")[2])
    assert (program, verb) == ("seal-ray", "run")
    overlays = ["--overlay", str(tmp_path / "mine.toml"), "--overlay", str(tmp_path / "found.toml")]
    assert words[:5] == [str(CONFIG), *overlays]
    assert "--trial.optim.epochs" in SMALL
    assert words[5:] == [*SMALL[:6], "--run.dir", str(done[0].with_name("run"))]


def test_no_file_of_somebody_elses_is_written_over(
    done: tuple[Path, Account], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text("[run]\nseed = 2\n")
    assert seal_ray(done[0], "--write", str(tmp_path / "mine.toml")) == "2"
    assert "is there already, and not from here" in capsys.readouterr().err
    assert seal_ray(done[0], "--write", str(tmp_path / "nowhere/x.toml")) == "2"
    assert "cannot be written" in capsys.readouterr().err
    assert not OVERLAY.startswith("[")


def test_too_few_trials_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give 30 or more"):
        tune(config_in(tmp_path / "run"), trials=29)
