"""A user's own modules are found beside the config that names them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seal_ray import config as configs
from seal_ray import plugins
from seal_ray.ops import jobs
from seal_ray.selection.rules import find_rule
from seal_ray.types import UserError

ROOT = Path(__file__).parents[1]
OWN = """[model]
path = "microworld"
[domain]
name = "microworld"
[run]
name = "own"
[selection]
rule = "own_{which}:last"
"""
RULE = "from helper_{which} import pick\n\ndef last(candidates, seed):\n    return pick(candidates)\n"
HELPER = "def pick(candidates):\n    return list(candidates[-1:])\n"


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_BESIDE", [])
    monkeypatch.setattr(sys, "path", list(sys.path))


def own(folder: Path, which: str) -> Path:
    """A config in `folder`, and beside it the module with its rule, which imports another beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"own_{which}.py").write_text(RULE.format(which=which))
    (folder / f"helper_{which}.py").write_text(HELPER)
    (folder / "run.toml").write_text(OWN.format(which=which))
    return folder / "run.toml"


def test_a_rule_that_is_a_plain_function_is_found_beside_the_config(tmp_path: Path) -> None:
    rule = find_rule(configs.load(own(tmp_path, "a")).selection.rule)
    assert rule.choose(["x", "y"], 1) == ["y"]  # type: ignore[list-item]


def test_the_command_finds_it_from_any_folder(tmp_path: Path) -> None:
    path = own(tmp_path / "config", "b")
    command = [sys.executable, "-m", "seal_ray", "run", str(path), "--dry-run"]
    shown = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert shown.returncode == 0, shown.stderr


def test_a_config_that_another_extends_brings_its_modules(tmp_path: Path) -> None:
    own(tmp_path / "base", "c")
    (tmp_path / "leaf.toml").write_text('extends = "base/run.toml"\n')
    assert find_rule(configs.load(tmp_path / "leaf.toml").selection.rule).needs_rewards


def test_a_file_beside_a_config_hides_no_package_and_is_not_imported_unless_it_is_named(tmp_path: Path) -> None:
    path = own(tmp_path, "d")
    for name in ("json", "numpy", "vllm_of_mine"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError('imported')\n")
    configs.load(path, ["--selection.rule", "best"])
    assert str(tmp_path) not in sys.path
    find_rule(configs.load(path).selection.rule)
    assert sys.path[-1] == str(tmp_path)


def test_a_module_that_is_nowhere_is_said_with_where_it_was_looked_for(tmp_path: Path) -> None:
    config = configs.load(own(tmp_path, "e"), ["--selection.rule", "nowhere_e:rule"])
    with pytest.raises(UserError, match=f"No module named 'nowhere_e'; looked for where Python does and in {tmp_path}"):
        find_rule(config.selection.rule)
    plugins._BESIDE.clear()
    with pytest.raises(UserError, match="PYTHONPATH, which should name its folder"):
        find_rule(config.selection.rule)


def test_a_jobs_driver_finds_it_in_whichever_copy_of_the_working_directory_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(tmp_path / "here/conf", "f")
    monkeypatch.chdir(tmp_path / "here")
    config, beside = configs.load("conf/run.toml"), jobs.modules()
    assert beside == ["conf"]
    shutil.move(tmp_path / "here", tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    plugins._BESIDE.clear()  # another process
    seen = []
    monkeypatch.setattr("seal_ray.loop.run.run", lambda config, progress: seen.append(find_rule(config.selection.rule)))
    jobs.driver(config, beside)
    assert seen[0].choose.__module__ == "own_f"
