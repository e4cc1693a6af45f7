"""The command: one line and exit code 2 for what a user can mend."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.ops.doctor import Check
from tests.runs import CONFIG

OLD_RUN = Path(__file__).parents[1] / "data" / "run-0.1.0"


def seal_ray(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "seal_ray", *arguments], capture_output=True, text=True)


def processor_seconds(*arguments: str) -> float:
    """What a Python process with these arguments takes of a processor, which is little more on a busy machine."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_help_answers_at_once() -> None:
    """It takes half as much again as the help of a command that does nothing: some tenths of a second."""
    nothing = "from cyclopts import App; App(name='nothing', help_format='plaintext')(['--help'])"
    assert seal_ray("--help").returncode == 0  # compiled once
    costs = [(processor_seconds("-m", "seal_ray", "--help"), processor_seconds("-c", nothing)) for _ in range(5)]
    ours, least = (min(each) for each in zip(*costs, strict=True))
    assert ours < 1.8 * least, costs


def test_a_dry_run_prints_the_resolved_tree_and_starts_nothing(tmp_path: Path) -> None:
    shown = seal_ray("run", str(CONFIG), "--run.dir", str(tmp_path / "r"), "--run.seed", "4", "--dry-run")
    assert json.loads(shown.stdout)["run"]["seed"] == 4
    assert shown.stderr.endswith(f"a run would begin in {tmp_path / 'r'}; nothing was started\n")
    assert not (tmp_path / "r").exists()


def test_a_dry_run_spells_out_the_directory_and_the_options_and_says_which_source_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["--model.path", "microworld", "--trial.lora.targets", '["q_proj"]', "--domain.options.train", "none.jsonl"]
    with pytest.raises(SystemExit, match="2"):
        main(["run", str(CONFIG.parent / "knowledge_small.toml"), *more, "--dry-run"])
    shown = capsys.readouterr()
    tree = json.loads(shown.out)
    assert tree["run"]["dir"] == "runs/knowledge-small-1"
    assert tree["domain"]["options"]["style"] == "implications"
    assert f"domain.options.train: {tmp_path}/none.jsonl: no such file or folder" in shown.err
    assert not list(tmp_path.iterdir())


def test_a_shell_learns_the_commands_by_one_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SystemExit, match="0"):
        main(["--install-completion", "--shell", "bash"])
    (script,) = (path for path in tmp_path.rglob("*seal-ray*") if path.is_file())
    assert "doctor" in script.read_text()


MISTAKES = {
    "a missing config": (["run", "nowhere.toml"], "nowhere.toml: no such config file"),
    "an unknown key": (["run", str(CONFIG), "--run.sede", "1"], "did you mean 'run.seed'?"),
    "an unknown domain": (["run", str(CONFIG), "--domain.name", "microwold"], "did you mean 'microworld'?"),
    "an unknown option": (["run", str(CONFIG), "--domain.options", '{"colour": 1}'], "domain.options.colour"),
    "an unknown engine": (["run", str(CONFIG), "--sampling.engine", "vlm"], "sampling.engine 'vlm' is unknown"),
    "an unknown rule": (["run", str(CONFIG), "--selection.rule", "bset"], "did you mean 'best'?"),
    "a model that is none": (
        ["run", str(CONFIG), "--model.path", "{tmp}"],
        "is no model: the folder has no config.json",
    ),
    "a model path that is nowhere": (["run", str(CONFIG), "--model.path", "{tmp}/x"], "neither a model folder nor"),
    "a misspelt target": (
        ["run", str(CONFIG), "--trial.lora.targets", '["q_porj"]'],
        "trial.lora.targets: no linear module of microworld is named 'q_porj'; did you mean 'q_proj'?",
    ),
    "a misspelt target of the update": (
        ["run", str(CONFIG), "--update.lora.targets", '["v_proj", "nowhere"]'],
        "update.lora.targets: no linear module of microworld is named 'nowhere'; known: down_proj, gate_proj",
    ),
    "a demo told where one of its runs is": (["demo", "--run.dir", "{tmp}"], "give --dir, from which both have theirs"),
    "a demo told the seed of one of its runs": (["demo", "--run.seed=5", "--seed", "6"], "--run.seed: the demo is two"),
    "no run to resume": (["resume", "{tmp}"], "no run is here"),
    "a run to go on otherwise than it was begun": (
        ["resume", str(OLD_RUN), "--trial.seeds", "7"],
        "--trial.seeds: a run goes on as it was begun",
    ),
    "no run to evaluate": (["eval", "{tmp}"], "no run is here"),
    "runs of one seed taken together": (["eval", str(OLD_RUN), str(OLD_RUN)], "more than one of these runs has seed 1"),
    "no run to export": (["export", "{tmp}", "--adapter", "{tmp}/out"], "no run is here"),
    "more than Ray has on this machine": (
        ["run", str(CONFIG), "--workers.cpus", "1024"],
        "a trainer needs 1024 CPUs (workers.cpus, workers.gpus_per_trainer), and this machine has",
    ),
    "no Ray at that address": (
        ["run", str(CONFIG), "--workers.address", "127.0.0.1:1"],
        "Ray cannot be reached at 127.0.0.1:1",
    ),
}


def test_a_terminal_obeys_nothing_that_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", str(tmp_path / "\x1b]0;title\x07\u202e.toml")])
    assert capsys.readouterr().err.endswith("]0;title.toml: no such config file\n")


def test_a_terminal_obeys_nothing_that_the_doctor_was_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Check("endpoint", False, "it says \x1b]0;title\x07\u202eno")
    monkeypatch.setattr("seal_ray.ops.doctor.examine", lambda config: [told])
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert capsys.readouterr().out == "✗ endpoint: it says ]0;titleno\n"


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda name: name.replace(" ", "-"))
def test_a_mistake_is_one_line_that_says_what_and_where(mistake: str, tmp_path: Path) -> None:
    arguments, complaint = MISTAKES[mistake]
    arguments = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    if arguments[0] == "run":
        arguments += ["--run.dir", str(tmp_path / "run")]
    shown = seal_ray(*arguments)
    assert shown.returncode == 2, shown.stderr
    lines = [line for line in shown.stderr.splitlines() if line.startswith("seal-ray: ")]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert "Traceback" not in shown.stderr
    assert "Ray" in mistake or not (tmp_path / "run").exists()  # a cluster is joined once the directory is claimed


PLAN = ["plan", str(CONFIG), "--gpu", "h100", "--gpus"]
AT_ONCE = {
    "a folder for a config": (["run", "{tmp}"], "{tmp}: is a folder; give the TOML file of a config"),
    "a folder where a file is to be written": (
        ["export", str(OLD_RUN), "--self-edits", "{tmp}"],
        "{tmp}: is a folder; name a file",
    ),
    "a file where a folder is to be made": (
        ["export", str(OLD_RUN), "--adapter", "{tmp}/file", "--force"],
        "{tmp}/file is a file, where a folder would have to be",
    ),
    "a file above what is to be written": (
        ["export", str(OLD_RUN), "--self-edits", "{tmp}/file/x"],
        "{tmp}/file is a file, where a folder would have to be",
    ),
    "fewer GPUs than none": ([*PLAN, "-2"], "--gpus -2: give a number of 0 or more"),
    "losses before the last": (
        [*PLAN, "2", "--hours-between-losses", "-3"],
        "--hours-between-losses -3: give",
    ),
    "losses that are no number": ([*PLAN, "2", "--hours-between-losses", "nan"], "--hours-between-losses nan: give"),
    "nodes without a GPU": ([*PLAN, "2", "--gpus-per-node", "0"], "--gpus-per-node 0: give a number of 1 or more"),
    "an answer without a token": (
        ["ask", str(OLD_RUN), "Who?", "--max-tokens", "0"],
        "--max-tokens 0: an answer",
    ),
    "nothing that was learnt": (["ask", "{tmp}", "Who?"], "{tmp}: no run is here (config.json is missing)"),
    "an adapter that is none": (
        ["adapters", "show", str(OLD_RUN), "nope"],
        f"`seal-ray adapters list {OLD_RUN}` names all",
    ),
}


@pytest.mark.parametrize("mistake", AT_ONCE, ids=lambda name: name.replace(" ", "-"))
def test_what_cannot_be_is_refused_before_anything_is_done(
    mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    arguments, complaint = AT_ONCE[mistake]
    with pytest.raises(SystemExit, match="2"):
        main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments])
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint.replace("{tmp}", str(tmp_path)) in line
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_run_without_a_row_says_so_beside_its_empty_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(OLD_RUN / "config.json", tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(tmp_path)])
    said = f"{tmp_path}: nothing is on record yet; `seal-ray resume {tmp_path}` goes on with it"
    assert capsys.readouterr().err.splitlines() == [said]
    with pytest.raises(SystemExit, match="0"):
        main(["explain", str(tmp_path)])
    assert capsys.readouterr().err.splitlines() == [f"{tmp_path}: no trial is on record yet"]


def test_a_command_that_is_named_can_be_given_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place := tmp_path / "first $HOME try").mkdir()
    shutil.copy(OLD_RUN / "config.json", place)
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(place)])
    named = capsys.readouterr().err.split("`")[1]
    assert shlex.split(named) == ["seal-ray", "resume", str(place)]
    assert subprocess.run(["sh", "-c", f"printf %s {named.rpartition('resume')[2]}"], capture_output=True).stdout == (
        str(place).encode()
    )


def test_a_locale_that_lacks_a_character_shows_a_question_mark(tmp_path: Path) -> None:
    shutil.copy(OLD_RUN / "config.json", tmp_path)
    command = [sys.executable, "-m", "seal_ray", "ls", str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (shown.returncode, shown.stderr) == (0, "")
    assert " ? " in shown.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_goes_to_a_full_disk_is_told_in_a_line(tmp_path: Path) -> None:
    shutil.copy(OLD_RUN / "config.json", tmp_path)
    command = [sys.executable, "-m", "seal_ray", "ls", str(tmp_path)]
    with Path("/dev/full").open("w") as full:
        shown = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    said = "seal-ray: standard output cannot be written: No space left on device\n"
    assert (shown.returncode, shown.stderr) == (2, said)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_a_shell_closed_are_not_missed(tmp_path: Path, closed: str) -> None:
    shutil.copy(OLD_RUN / "config.json", tmp_path)
    command = f'exec "{sys.executable}" -m seal_ray ls "{tmp_path}" {closed}'
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert bool(shown.stdout) == (closed == "2>&-")


@pytest.mark.parametrize("command", [["ls"], ["run", "a.toml"], ["watch", "runs/a", "--once"], ["eval", "runs/a"]])
def test_in_a_folder_that_is_gone_a_relative_path_is_told_as_what_it_is(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit, match="2"):
        main(command)
    said = "the folder that this command was given in was moved or removed; go to one that is there (cd)"
    assert capsys.readouterr().err == f"seal-ray: {said}\n"


@pytest.mark.parametrize("job", [["jobs/submit.py"], ["-m", "seal_ray.cli.submit"]])
def test_a_job_is_begun_from_the_repository_and_from_anywhere(job: list[str]) -> None:
    told = subprocess.run([sys.executable, *job, "moon.toml"], capture_output=True, text=True, timeout=120)
    assert (told.returncode, told.stderr) == (2, "seal-ray: moon.toml: no such config file\n")


def test_with_debug_the_traceback_is_shown() -> None:
    shown = seal_ray("run", "nowhere.toml", "--debug")
    assert "Traceback" in shown.stderr


def test_a_place_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    shown = seal_ray("run", str(CONFIG), "--run.dir", str(blocker / "run"))
    assert shown.returncode == 2
    assert "cannot be written" in shown.stderr


def test_a_race_is_replayed_or_simulated_and_never_both(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["race"], ["race", "--records", "x.json", "--simulate"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert "give either --records FILE or --simulate" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["resume", "demo", "methods", "again", "tune", "learn", "eval"])
def test_every_command_that_can_be_quiet_says_what_that_is(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert "No progress." in capsys.readouterr().out
