"""A journal trusts nothing in its folder: what is damaged is named and set aside, never read as if it were whole."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seal_ray.adapters.lora import Adapter, tensor_names
from seal_ray.cli.app import main
from seal_ray.domains.registry import load_domain
from seal_ray.policy import adapters
from seal_ray.policy.lineage import adapter_of
from seal_ray.record.journal import Journal
from seal_ray.record.repair import repair
from seal_ray.record.rows import TABLES, OutcomeRow, PolicyRow
from seal_ray.record.segments import Damaged
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import claimed
from seal_ray.rundir.identity import identify
from seal_ray.types import UserError
from tests.record.journals import OUTCOME, add, journal_in, keys, rewards, segments, written
from tests.runs import small_run

pytestmark = pytest.mark.usefixtures("by_hand")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path, 3)
    return tmp_path


def _flip(path: Path, place: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def repaired(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says."""
    with pytest.raises(SystemExit, match="0"):
        main(["repair", str(folder)])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda path: path.write_bytes(b""), "checksum differs"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "checksum differs"),
        (lambda path: _flip(path, 200), "1 rows, and its checksum differs"),
        (lambda path: path.unlink(), "is missing"),
    ],
    ids=["emptied", "cut", "flipped", "deleted"],
)
def test_a_damaged_segment_is_named_with_the_command_that_sets_it_aside_and_the_rest_stands(
    folder: Path, harm: Callable[[Path], None], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    second = segments(folder)[1]
    harm(second)
    with pytest.raises(Damaged, match=rf"{second.name} is damaged \(.*{what}.*\): `seal-ray repair {folder}`"):
        keys(journal_in(folder))
    assert second.name in repaired(folder, capsys)
    assert keys(journal_in(folder)) == ["k0", "k2"]
    again = journal_in(folder)
    add(again, "k1")
    again.flush()
    assert sorted(keys(journal_in(folder))) == ["k0", "k1", "k2"]


@pytest.mark.parametrize("kind", ["*/*.parquet", "manifest-*.json"])
def test_of_what_is_missing_it_is_said_that_it_may_still_be_copied(folder: Path, tmp_path: Path, kind: str) -> None:
    """A repair meanwhile lets go of rows that arrive a moment later."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    for path in (copy / "journal").glob(kind):
        path.unlink()
    with pytest.raises(Damaged, match=r"of a copy that is still being made, wait for the rest\): `seal-ray repair"):
        keys(journal_in(copy))
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    assert keys(journal_in(copy)) == keys(journal_in(folder))


def test_repair_of_a_whole_journal_says_so_and_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert repaired(folder, capsys) == "nothing is damaged\n"
    assert {path: path.read_bytes() for path in before} == before


def test_no_flipped_bit_of_a_segment_or_a_manifest_is_read_as_other_rows(folder: Path, tmp_path: Path) -> None:
    whole = rewards(journal_in(folder))
    for path in (segments(folder)[1], sorted((folder / "journal").glob("manifest-*.json"))[-1]):
        data = path.read_bytes()
        for seed in range(50):
            rng = random.Random(seed)
            _flip(path, rng.randrange(len(data)), rng.randrange(8))
            with pytest.raises(Damaged):
                rewards(journal_in(folder))
            path.write_bytes(data)
    assert rewards(journal_in(folder)) == whole


@pytest.mark.parametrize(
    "name",
    [
        *(".DS_Store", "._000001.parquet", ".nfs00000000001a2b", "notes.txt", "000001-000001.parquet.bak"),
        *("000001-000002.parquet~", "000000 (copy).parquet"),
    ],
)
def test_files_that_are_not_the_journals_are_left_alone_and_a_run_warns_of_them(
    folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "journal/outcomes" / name).write_bytes(b"x")
    (folder / "journal/outcomes/000009.parquet").mkdir()
    assert keys(journal_in(folder)) == ["k0", "k1", "k2"]
    with caplog.at_level(logging.WARNING):
        journal_in(folder).begin()
    assert f"not the journal's, and not read: journal/outcomes/{name}" in caplog.text
    assert (folder / "journal/outcomes" / name).read_bytes() == b"x"


def test_a_segment_that_no_manifest_names_counts_for_nothing_and_goes_with_the_next_run(folder: Path) -> None:
    stray = folder / "journal/outcomes/000001-000099.parquet"
    shutil.copy(segments(folder)[0], stray)
    assert keys(journal_in(folder)) == ["k0", "k1", "k2"]
    journal_in(folder).begin()
    assert not stray.exists()
    assert keys(journal_in(folder)) == ["k0", "k1", "k2"]


def test_without_its_last_manifest_or_any_a_journal_is_made_whole_from_its_segments(folder: Path) -> None:
    for every in (False, True):
        manifests = sorted((folder / "journal").glob("manifest-*.json"))
        for path in manifests if every else manifests[-1:]:
            path.write_bytes(b"")
        with pytest.raises(Damaged, match="repair"):
            journal_in(folder)
        assert repair(Store(str(folder)))
        assert keys(journal_in(folder)) == ["k0", "k1", "k2"]
        journal_in(folder).begin()
    for path in (folder / "journal").glob("manifest-*.json"):
        path.unlink()
    with pytest.raises(Damaged, match="no manifest says which count"):
        journal_in(folder)
    repair(Store(str(folder)))
    assert keys(journal_in(folder)) == ["k0", "k1", "k2"]


def test_every_page_of_a_segment_has_a_checksum_of_its_own(folder: Path) -> None:
    path = segments(folder)[0]
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    _flip(path, column.data_page_offset + 40)
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(path, page_checksum_verification=True).read()


def test_a_journal_of_the_first_version_is_read_and_gets_checksums_from_the_next_run(tmp_path: Path) -> None:
    place = tmp_path / "journal/outcomes"
    place.mkdir(parents=True)
    for number, (key, reward) in enumerate([("a", 0.1), ("b", 0.2), ("a", 0.9)]):
        row = OutcomeRow.of(OUTCOME).as_dict() | {"key": key, "reward": reward}
        pq.write_table(pa.Table.from_pylist([row], TABLES["outcomes"]), place / f"{number:06d}.parquet")
    (place / ".DS_Store").write_bytes(b"x")
    assert rewards(journal_in(tmp_path)) == [("a", 0.1), ("b", 0.2)]
    journal_in(tmp_path).begin()
    assert rewards(journal_in(tmp_path)) == [("a", 0.1), ("b", 0.2)]
    [one] = segments(tmp_path)
    _flip(one, 100)
    with pytest.raises(Damaged):
        rewards(journal_in(tmp_path))


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(UserError, match="cannot list journal: Permission denied"):
        journal_in(folder)


def test_a_damaged_segment_does_not_keep_new_rows_from_the_disk(tmp_path: Path) -> None:
    journal = written(tmp_path, 15)
    _flip(segments(tmp_path)[3], 200)
    for key in ("new", "newer"):
        add(journal, key)
        journal.flush()
    repair(Store(str(tmp_path)))
    assert keys(journal_in(tmp_path)) == [*(f"k{n}" for n in range(15) if n != 3), "new", "newer"]


@pytest.mark.parametrize("command", ["eval", "report", "export", "resume"])
def test_commands_that_read_a_damaged_run_end_in_one_line(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_run(tmp_path / "run")
    store = Store(config.dir)
    with claimed(store, config, identify(config, load_domain(config))) as claim:
        journal = Journal(store, claim.run)
        add(journal, "k0")
        journal.append("kept", {"key": "x", "stage": "round 1"})
        journal.append("self_edits", {"key": "x"})
        journal.flush()
    for table in ("outcomes", "self_edits"):
        for path in segments(tmp_path / "run", table):
            path.write_bytes(b"")
    more = ["--self-edits", str(tmp_path / "out")] if command == "export" else []
    more = ["--quiet"] if command == "resume" else more
    with pytest.raises(SystemExit, match="2"):
        main([command, config.dir, *more])
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "is damaged" in said[0]
    assert f"`seal-ray repair {config.dir}`" in said[0]


def adapter(scale: float = 1.0) -> Adapter:
    names = tensor_names("model.layers.0.mlp.up_proj")
    return Adapter(2, 4.0, ("up_proj",), dict(zip(names, (np.ones((2, 8)) * scale, np.ones((4, 2))), strict=True)))


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("adapter_model.safetensors", lambda path: path.write_bytes(b"")),
        ("adapter_model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-100])),
        ("adapter_model.safetensors", lambda path: _flip(path, -5, 6)),
        ("adapter_model.safetensors", lambda path: path.unlink()),
        ("adapter_config.json", lambda path: path.write_text(path.read_text().replace('"r": 2', '"r": "2"'))),
        ("adapter_config.json", lambda path: path.write_text("[1]")),
    ],
    ids=["emptied", "cut", "flipped", "deleted", "rank as text", "a list"],
)
def test_a_damaged_policy_is_named_and_repair_has_it_trained_again(
    tmp_path: Path, name: str, harm: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    store, journal = Store(str(tmp_path)), journal_in(tmp_path)
    first, second = (adapters.put(store, adapter(value)) for value in (1.0, 2.0))
    for number, ref in enumerate((first, second), start=1):
        journal.record(PolicyRow(str(number), version=number, rank=2, adapter=ref.key))
    journal.flush()
    where = f"adapters/{second.key}"
    harm(tmp_path / where / name)
    with pytest.raises(Damaged, match=rf"{where}.* is damaged .*`seal-ray repair {tmp_path}`"):
        adapters.get(store, second)
    assert "policy 2" in repaired(tmp_path, capsys)
    assert [row["version"] for row in journal_in(tmp_path).rows("policies")] == [1]
    assert adapters.get(store, first).rank == 2
    assert not store.walk(where)
    assert store.walk(f"damaged/{where}")


def test_an_adapter_that_is_whole_and_another_than_it_is_called_is_damaged(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    ref = adapters.put(store, adapter(1.0))
    adapter(2.0).save(tmp_path / adapters.folder_of(ref))
    with pytest.raises(Damaged, match="its content is not what it is called by"):
        adapters.get(store, ref)


@pytest.mark.parametrize("harm", [lambda data: b"", lambda data: data[:-100]], ids=["emptied", "cut"])
def test_a_policy_that_is_kept_by_its_number_is_read_and_refused_where_it_cannot_be(
    tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    store, row = Store(str(tmp_path)), PolicyRow("1", version=1, rank=2)
    path = tmp_path / "policies/0001/adapter_model.safetensors"
    adapter().save(path.parent)
    assert adapter_of(store, row).rank == 2
    checksums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    (path.parent / "checksums.json").write_text(json.dumps(checksums))
    assert adapter_of(store, row).rank == 2
    (path.parent / "checksums.json").write_text(json.dumps({path.name: "another"}))
    with pytest.raises(Damaged, match="its checksum differs"):
        adapter_of(store, row)
    (path.parent / "checksums.json").unlink()
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(Damaged):
        adapter_of(store, row)


@pytest.mark.parametrize("harm", [np.nan, np.inf])
def test_a_policy_with_a_number_that_is_not_finite_is_neither_written_nor_read(tmp_path: Path, harm: float) -> None:
    store, broken = Store(str(tmp_path)), adapter(harm)
    with pytest.raises(UserError, match="holds numbers that are not finite"):
        adapters.put(store, broken)
    assert not store.walk("adapters")
    broken.save(tmp_path / adapters.folder_of(broken.ref))
    with pytest.raises(UserError, match="holds numbers that are not finite"):
        adapters.get(store, broken.ref)
