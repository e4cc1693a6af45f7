"""The check of a GPU: all of it in miniature where little is installed, and what it says when something is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu_check import weights
from benchmarks.gpu_check.__main__ import main
from benchmarks.gpu_check.record import Record, Subject
from benchmarks.gpu_check.table import tables, wrong
from seal_ray.types import UserError
from tests.bare import run_bare

SUBJECT = Subject("A card", "c0de", "", "2.13", rehearsed=False)

TWICE = """
import contextlib, io
from benchmarks.gpu_check.__main__ import main

for _ in range(2):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        main(["--rehearse", "--out", sys.argv[2]])
    print(said.getvalue().splitlines()[-1])
"""


@pytest.mark.slow
def test_all_of_it_is_rehearsed_where_little_is_installed_and_what_is_on_record_is_not_measured_again(
    tmp_path: Path,
) -> None:
    out = tmp_path / "gpu-check.json"
    said = run_bare(TWICE, str(out))
    first, again = (line.partition(" pieces")[0] for line in said.splitlines() if line.startswith("measured"))
    (check,) = json.loads(out.read_text())["checks"].values()
    pieces = {f"{part}: {name}" for part, found in check["parts"].items() for name in found}
    assert (first, again) == (f"measured {len(pieces)}", "measured 0")
    wanted = {"equality: packed, mistral", "equality: company, bfloat16", "speed: qwen2.5-tiny, bank-4"}
    assert wanted | {"speed: the weights given, writing", "paper: the experiment"} <= pieces
    assert {"equality: rows unpadded", "speed: qwen2.5-tiny, bank-4, padded"} <= pieces
    lying = check["parts"]["equality"]["rows unpadded"], check["parts"]["speed"]["qwen2.5-tiny, rows unpadded"]
    assert all(row["used"] for piece in lying for row in piece["found"]["unpadded"])
    assert wrong(check) == []
    bank = check["parts"]["speed"]["qwen2.5-tiny, bank-4"]["found"]
    assert bank["slot_bytes"] == pytest.approx(bank["slot_bytes_by_formula"], rel=0.1)
    assert {"base", "passage only", "in-context", "untrained self-edits", "after round 2"} <= check["parts"]["paper"][
        "the experiment"
    ]["found"]["arms"].keys()
    heads = [line for line in said.splitlines() if "rehearsal" in line]
    assert len(heads) == 2
    assert all(f"| {arm} |" in said for arm in ("packed, qwen3", "bank-4", "bank-4, padded", "after round 2"))
    assert said.count("| attention, forward and back | taken |") == 4, "both tables, twice"


def record(path: Path, subject: Subject = SUBJECT) -> Record:
    return Record(path, subject, lambda line: None)


def never() -> dict[str, Any]:
    raise AssertionError("this is on record")


def test_a_piece_is_measured_once_for_each_card_and_code_and_again_where_what_it_is_of_changed(tmp_path: Path) -> None:
    path = tmp_path / "some" / "check.json"
    record(path).piece("speed", "one", lambda: {"rate": 1.0, "share": float("nan")}, 5)
    assert record(path).piece("speed", "one", never, 5) == {"rate": 1.0, "share": None}
    assert record(path).piece("speed", "one", lambda: {"rate": 2.0}, 6) == {"rate": 2.0}
    other = Subject("A card", "0ther", "", "2.13", rehearsed=False)
    assert record(path, other).piece("speed", "one", lambda: {"rate": 3.0}, 6) == {"rate": 3.0}
    assert record(path).piece("speed", "one", never, 6) == {"rate": 2.0}


@pytest.mark.parametrize("text", ["", "[1]", '{"checks": 3}'])
def test_a_file_that_is_no_record_of_a_check_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"other.json: holds something else than such a check"):
        record(path)
    assert path.read_text() == text


def test_a_bank_that_is_not_right_is_named_and_marked() -> None:
    row = {"dtype": "float32", "steps": 3, "loss": 0.2, "mean_loss": 0.1, "adapter": None, "allowed": [0.1, 1]}
    found = {"good": {"trainings": [row | {"right": True}]}, "bad": {"trainings": [row | {"right": False}]}}
    parts = {"equality": {name: {"found": piece} for name, piece in found.items()}}
    check = {"device": "A card", "code": "c0de", "commit": "", "torch": "2", "rehearsed": False, "parts": parts}
    assert wrong(check) == ["bad"]
    assert "| bad | float32 | 3 | 0.2 | 0.1 |  | 0.1, 1 | **no** |" in tables(check, ["equality", "speed"])


def test_a_kernel_that_comes_to_something_else_than_padding_is_named_and_one_that_is_not_there_is_not() -> None:
    row = {"what": "products", "used": True, "apart": 0.5, "allowed": 0.03, "right": False}
    found = {"unpadded": [row, row | {"what": "attention", "used": False, "apart": 0.0, "right": None}], "right": False}
    parts = {"equality": {"rows unpadded": {"found": found}}}
    check = {"device": "A card", "code": "c0de", "commit": "", "torch": "2", "rehearsed": False, "parts": parts}
    assert wrong(check) == ["rows unpadded"]
    said = tables(check, ["equality"])
    assert "| products | taken | 0.5 | 0.03 | **no** |" in said
    assert "| attention | none | 0 | 0.03 |  |" in said


@pytest.fixture
def pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder in pieces."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "model.safetensors").write_bytes(bytes(range(250)) * 4)
    names = weights.split(model, tmp_path / "pieces", most=300)
    assert names == ["config.json", *(f"model.safetensors.part{n:02}" for n in range(4)), "SHA256SUMS"]
    return tmp_path / "pieces"


def test_pieces_are_joined_once_to_the_folder_that_was_split(pieces: Path) -> None:
    joined = Path(weights.found(str(pieces)))
    assert {file.name for file in joined.iterdir()} == {"config.json", "model.safetensors"}
    assert (joined / "model.safetensors").read_bytes() == bytes(range(250)) * 4
    assert weights.found(str(pieces)) == str(joined)


LAST = "model.safetensors.part03"
DAMAGED = {
    "one is missing": (lambda folder: (folder / "model.safetensors.part01").unlink(), "part01: the piece is missing"),
    "the last is missing": (lambda folder: (folder / LAST).unlink(), "part03: the piece is missing"),
    "one is cut short": (lambda folder: (folder / LAST).write_bytes(b"1"), r"part03: the piece is cut short .* \(1 "),
    "a small file is another": (lambda folder: (folder / "config.json").write_text("{}"), "config.json: the piece is"),
}


@pytest.mark.parametrize("damage", DAMAGED, ids=lambda name: name.replace(" ", "-"))
def test_a_piece_that_is_missing_or_damaged_is_named_in_one_line(pieces: Path, damage: str) -> None:
    do, said = DAMAGED[damage]
    do(pieces)
    with pytest.raises(UserError, match=said) as error:
        weights.found(str(pieces))
    assert "\n" not in str(error.value)


def test_without_their_hashes_pieces_are_held_to_their_numbers_and_sizes(pieces: Path) -> None:
    (pieces / "SHA256SUMS").unlink()
    weights.found(str(pieces))
    (pieces / "model.safetensors.part01").write_bytes(b"1")
    with pytest.raises(UserError, match=r"part01: the piece is cut short or damaged \(1 bytes\); copy it again"):
        weights.found(str(pieces))
    (pieces / "model.safetensors.part01").unlink()
    with pytest.raises(UserError, match="part01: the piece is missing; copy it there too"):
        weights.found(str(pieces))


def test_the_command_splits_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.gguf").write_bytes(b"GGUF")
    main(["--split", str(tmp_path / "one.gguf"), "--into", str(tmp_path / "into")])
    assert (tmp_path / "into/one.gguf").read_bytes() == b"GGUF"
    assert "2 files of at most 50 MB" in capsys.readouterr().out


MISSING = {
    "weights": (["--part", "paper"], "the part 'paper' needs --model and --data"),
    "the file with passages": (["--model", ".", "--data", "none.json"], "--data 'none.json': there is no such file"),
    "a place for pieces": (["--split", "x"], "--split needs --into FOLDER"),
    "what to split": (["--split", "x", "--into", "y"], "--split 'x': there is nothing to split"),
}


@pytest.mark.parametrize("missing", MISSING, ids=lambda name: name.replace(" ", "-"))
def test_what_is_missing_is_said_in_one_line(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, said = MISSING[missing]
    assert refused(arguments, monkeypatch, capsys).startswith(f"seal-ray: {said}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu_is_told_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(["--part", "equality"], monkeypatch, capsys)
    assert (
        said == "seal-ray: torch sees no GPU on this machine; --rehearse does all of it in miniature on the processor\n"
    )


def refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the command sets it, which is to end with the test
    with pytest.raises(SystemExit) as left:
        main(arguments)
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.count("\n") == 1
    return said
