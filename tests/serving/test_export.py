"""What was learnt leaves as folders that answer in plain PEFT and Transformers as `ask` does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.policy.catalogue import catalogue_of
from seal_ray.serving.answering import Answerer
from tests.disks import mounted
from tests.warm import printed


@pytest.mark.slow
@pytest.mark.parametrize("form", ["adapter", "merged"])
@pytest.mark.parametrize("kind", ["directory", "plain_directory", "gguf_directory"])
def test_the_snippet_on_the_card_answers_as_ask_does(
    kind: str, form: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    directory = str(request.getfixturevalue(kind))
    with pytest.raises(SystemExit, match="0"):
        main(["export", directory, f"--{form}", str(tmp_path)])
    card = (tmp_path / "README.md").read_text()
    snippet = card.split("```python\n")[1].split("```")[0]
    said = Answerer.of(directory).ask("What is it about?")
    assert said
    assert printed(snippet, tmp_path).removesuffix("\n") == said


def test_the_card_has_the_line_that_serves_the_adapter_with_vllm(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["export", str(directory), "--adapter", str(tmp_path)])
    base = directory.parent / "tiny"
    line = f"`vllm serve {base} --enable-lora --lora-modules notes=. --max-lora-rank 8`"
    assert line in (tmp_path / "README.md").read_text()


def test_the_card_says_what_learn_said(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not what its record has of passages that are gone, and of versions before."""
    for command in (["export", str(directory), "--adapter", str(tmp_path)], ["eval", str(directory)]):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="0"):
            main(command)
    said = capsys.readouterr().out
    assert said.startswith("knows now:   not measured"), "the tiny model answers no two questions of a passage"
    assert said in (tmp_path / "README.md").read_text()


def test_nothing_that_is_there_is_written_over_unasked(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = tmp_path / "README.md"
    note.write_text("mine")
    for to in (tmp_path, note):
        with pytest.raises(SystemExit, match="2"):
            main(["export", str(directory), "--adapter", str(to)])
        assert f"{to}: there is something already" in capsys.readouterr().err
    assert note.read_text() == "mine"
    with pytest.raises(SystemExit, match="0"):
        main(["export", str(directory), "--adapter", str(tmp_path), "--force"])
    assert note.read_text() != "mine"


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_a_disk_that_is_too_small_is_told_in_a_line_and_nothing_half_is_left_on_it(
    form: str, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", "16k") as disk:
        out = str(disk.folder / "out")
        with pytest.raises(SystemExit, match="2"):
            main(["export", str(directory), f"--{form}", out])
        assert not any(disk.folder.iterdir())
        said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"seal-ray: {out}: cannot be written: ")
    assert "No space left on device" in said


def test_what_is_written_over_stays_whole_where_nothing_can_be_written(directory: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "16k") as disk:
        out = disk.folder / "out"
        out.mkdir()
        (out / "adapter_config.json").write_text("mine")
        with pytest.raises(SystemExit, match="2"):
            main(["export", str(directory), "--adapter", str(out), "--force"])
        assert [(file.name, file.read_text()) for file in out.iterdir()] == [("adapter_config.json", "mine")]


def test_a_base_that_is_another_by_now_answers_nothing_and_nothing_of_it_is_exported(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(directory, tmp_path / "notes")
    base = shutil.copytree(directory.parent / "tiny", tmp_path / "tiny")
    config = copied / "config.json"
    config.write_text(config.read_text().replace(str(directory.parent / "tiny"), str(base)))
    out = tmp_path / "out"
    exports = (["export", str(copied), f"--{form}", str(out)] for form in ("merged", "adapter"))
    (held,) = catalogue_of(str(copied))
    alone, summed = (["adapters", how, str(copied), held.name, "--into", str(out)] for how in ("export", "merge"))
    commands = (["ask", str(copied), "What?"], *exports, alone, summed)
    assert Answerer.of(str(copied)).ask("What is it about?")
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    for command in commands:
        with pytest.raises(SystemExit, match="2"):
            main(command)
        assert "another base (model.path: model.safetensors: the content has changed" in capsys.readouterr().err
        assert not out.exists()
