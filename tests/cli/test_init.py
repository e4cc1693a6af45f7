"""`seal-ray init` writes a config to start from."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from seal_ray.cli import shipped
from seal_ray.cli.app import main
from seal_ray.config import load
from seal_ray.reading import json_text

ROOT = Path(__file__).parents[2]


def init(*arguments: str) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["init", *arguments])


@pytest.mark.parametrize("job", shipped.names())
def test_every_job_that_is_written_resolves_to_what_it_is_where_it_ships(job: str, tmp_path: Path) -> None:
    init(job, str(tmp_path / "mine"))
    there, here = load(tmp_path / "mine" / f"{job}.toml"), load(ROOT / "jobs" / f"{job}.toml")
    moved = json_text(here).replace(f"{ROOT}/jobs", f"{tmp_path}/mine")
    assert json.loads(json_text(there)) == json.loads(moved)


def test_what_is_written_can_begin_at_once_and_takes_ones_own_data_in_one_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    init()
    dry = ["run", "documents.toml", "--dry-run", "--model.path", "microworld"]
    with pytest.raises(SystemExit, match="0"):
        main(dry)
    assert "tasks: 2 to train on, 4 held out; " in capsys.readouterr().err, "chance decides, so it is said"
    (tmp_path / "docs").mkdir()
    for name in ("a", "b", "c", "d"):
        (tmp_path / "docs" / f"{name}.md").write_text(f"# {name}\n\nA note about {name}.")
    config = tmp_path / "documents.toml"
    config.write_text(config.read_text().replace('"passages.jsonl"', '"docs"'))
    capsys.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main(dry)
    assert json.loads(capsys.readouterr().out)["domain"]["options"]["train"] == str(tmp_path / "docs")


def test_the_commands_in_its_comments_are_those_for_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    init("microworld")
    init("microworld", "sub")
    assert "seal-ray run microworld.toml" in Path("microworld.toml").read_text()
    assert "seal-ray run sub/microworld.toml" in Path("sub/microworld.toml").read_text()


def test_no_file_is_overwritten_and_an_unknown_job_is_refused_with_the_near_miss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init("knowledge_best", str(tmp_path))
    for job, said in (("cpt", f"{tmp_path}/knowledge.toml: exists already"), ("knowlege", "did you mean 'knowledge'?")):
        with pytest.raises(SystemExit, match="2"):
            main(["init", job, str(tmp_path)])
        assert said in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"knowledge_best.toml", "knowledge.toml"}


def test_every_job_but_the_one_of_random_weights_is_offered_and_stands_in_the_readme() -> None:
    jobs = {path.stem for path in (ROOT / "jobs").glob("*.toml")}
    assert jobs - set(shipped.names()) == {"knowledge_small"}
    named = set(re.findall(r"jobs/(\w+)\.toml", (ROOT / "README.md").read_text()))
    assert named == jobs


def test_no_job_says_twice_what_its_base_says() -> None:
    for path in (ROOT / "jobs").glob("*.toml"):
        tree = tomllib.loads(path.read_text())
        if base := tree.pop("extends", None):
            assert not repeated(tree, tomllib.loads((path.parent / base).read_text())), path


def repeated(tree: dict, base: dict) -> list[str]:
    found = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += repeated(value, base.get(key, {}))
        elif key in base and base[key] == value:
            found.append(key)
    return found
