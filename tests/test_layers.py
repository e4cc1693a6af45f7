"""A config in layers: files that extend others, overlays, the command line."""

from __future__ import annotations

import itertools
import json
import tomllib
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.config import load
from seal_ray.reading import DEPTH
from seal_ray.types import UserError

ROOT = Path(__file__).parents[1]
JOBS = {path.name: path for path in (ROOT / "jobs").glob("*.toml")}
WRITTEN_OUT = json.loads((ROOT / "tests/data/jobs_written_out.json").read_text())
"""What the jobs that extend another said when each still said everything itself."""

MINIMAL = '[model]\npath = "microworld"\n[domain]\nname = "microworld"\n'


def test_a_config_as_windows_saves_it_is_read_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load(path).model.path == "microworld"


def written(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


@pytest.mark.parametrize("name", sorted(WRITTEN_OUT))
def test_a_job_that_extends_another_resolves_to_what_it_was_when_it_said_everything_itself(
    name: str, tmp_path: Path
) -> None:
    tree = WRITTEN_OUT[name]
    lines = [f"{key} = {json.dumps(value)}" for key, value in flat(tree)]
    whole = written(tmp_path, whole="\n".join(lines)) / "whole.toml"
    expected = load(whole, ["--domain.options.train", str(ROOT / "jobs" / tree["domain"]["options"]["train"])])
    assert load(JOBS[name]) == expected
    assert load(JOBS[name]).identity() == expected.identity()


def flat(tree: dict, prefix: str = "") -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for key, value in tree.items():
        pairs += flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return pairs


def test_every_job_that_extends_another_is_held_to_what_it_was() -> None:
    extending = {name for name, path in JOBS.items() if "extends" in tomllib.loads(path.read_text())}
    never_said_it = {
        "squad_half.toml",
        "arc_real.toml",
        "streams.toml",
        "streams_real.toml",
        "memory.toml",
        "methods.toml",
    }
    assert extending == WRITTEN_OUT.keys() | never_said_it


def test_tables_are_merged_and_other_values_replaced(tmp_path: Path) -> None:
    base = MINIMAL + '[trial.lora]\nrank = 4\ntargets = ["q_proj", "v_proj"]\n[run]\nseed = 3\nrounds = 1\n'
    leaf = 'extends = "base.toml"\n[trial.lora]\ntargets = ["o_proj"]\n[run]\nrounds = 5\n'
    config = load(written(tmp_path, base=base, leaf=leaf) / "leaf.toml", ["--run.seed", "9"])
    assert (config.trial.lora.rank, config.trial.lora.targets) == (4, ("o_proj",))
    assert (config.run.seed, config.run.rounds) == (9, 5)


def test_a_path_starts_at_the_folder_of_the_file_that_says_it(tmp_path: Path) -> None:
    domain = '[model]\npath = "microworld"\n[domain]\nname = "knowledge"\n'
    written(tmp_path / "base", base=f'{domain}[domain.options]\ntrain = "a.jsonl"\ntemplate = "t.txt"\n')
    leaf = 'extends = "../base/base.toml"\n[domain.options]\ntrain = "b.jsonl"\n'
    options = load(written(tmp_path / "leaf", leaf=leaf) / "leaf.toml").domain.options
    assert Path(options["template"]).resolve() == (tmp_path / "base/t.txt").resolve()
    assert options["train"] == str(tmp_path / "leaf/b.jsonl")


def test_overlays_win_over_the_file_in_their_order_and_the_command_line_over_them(tmp_path: Path) -> None:
    texts = {
        "job": MINIMAL + "[run]\nseed = 1\nrounds = 1\n[trial]\nseeds = 1\n",
        "first": "[run]\nseed = 2\nrounds = 2\n[trial]\nseeds = 2\n",
        "second": "[run]\nseed = 4\nrounds = 4\n",
    }
    folder = written(tmp_path, **texts)
    config = load(folder / "job.toml", ["--run.seed", "8"], [folder / "first.toml", folder / "second.toml"])
    assert (config.run.seed, config.run.rounds, config.trial.seeds) == (8, 4, 2)


def test_the_command_takes_overlays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path, job=MINIMAL, more="[run]\nseed = 21\n", last="[run]\nrounds = 3\n")
    overlays = ["--overlay", str(folder / "more.toml"), "--overlay", str(folder / "last.toml")]
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(folder / "job.toml"), *overlays, "--run.name", "x", "--dry-run"])
    shown = json.loads(capsys.readouterr().out)["run"]
    assert (shown["seed"], shown["rounds"], shown["name"]) == (21, 3, "x")


WRONG = {
    "a circle": ({"job": 'extends = "b.toml"', "b": 'extends = "job.toml"'}, "b.toml: extends 'job.toml', which"),
    "itself": ({"job": 'extends = "job.toml"'}, "job.toml: extends 'job.toml', which extends this file again"),
    "a file that is nowhere": ({"job": 'extends = "none.toml"'}, "none.toml: no such config file .extended by .*job"),
    "no path": ({"job": "extends = 3"}, r"job.toml: 'extends' must be the path of one TOML file \(got 3\)"),
    "a base that is no TOML": ({"job": 'extends = "b.toml"', "b": "[x"}, "b.toml: not valid TOML"),
    "an unknown key of the base": (
        {"job": 'extends = "b.toml"\n[run]\nseed = 2', "b": MINIMAL + "[run]\nsede = 1"},
        "b.toml: unknown key 'run.sede'; did you mean 'run.seed'",
    ),
    "a near miss": ({"job": 'extend = "b.toml"\n' + MINIMAL}, "unknown key 'extend'; did you mean 'extends'"),
    "a wrong value of the file": (
        {"job": 'extends = "b.toml"\n[run]\nseed = "x"', "b": MINIMAL + "[run]\nseed = 1"},
        "job.toml: 'run.seed'",
    ),
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda name: name.replace(" ", "-"))
def test_what_is_wrong_is_said_in_one_line_with_the_file_that_says_it(tmp_path: Path, wrong: str) -> None:
    texts, said = WRONG[wrong]
    with pytest.raises(UserError, match=said) as error:
        load(written(tmp_path, **texts) / "job.toml")
    assert "\n" not in str(error.value)


def test_the_command_line_extends_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lay one on it with --overlay FILE"):
        load(written(tmp_path, job=MINIMAL) / "job.toml", ["--extends", "b.toml"])


def test_files_that_extend_one_another_without_end_are_refused(tmp_path: Path) -> None:
    names = [f"f{n}" for n in range(DEPTH + 2)]
    texts = {name: f'extends = "{after}.toml"' for name, after in itertools.pairwise(names)}
    folder = written(tmp_path, **texts, **{names[-1]: MINIMAL})
    with pytest.raises(UserError, match=f"more than {DEPTH} files extend one another"):
        load(folder / "f0.toml")
    assert load(folder / "f1.toml").model.path == "microworld"
