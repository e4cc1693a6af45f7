"""Documents are read as they stand at one time, or refused in a line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.domains.knowledge.passages import Passage
from seal_ray.learning import documents
from seal_ray.learning.documents import read_documents, rows_of
from seal_ray.learning.learn import learnt
from seal_ray.types import UserError
from tests.disks import mounted


def test_a_document_that_is_written_to_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the old one and none of the new would be learnt without a word."""
    notes = tmp_path / "notes.md"
    notes.write_text("".join(f"# Part {n}\n\nFact {n} is so.\n\n" for n in range(3_000)))
    read = documents.document_passages

    def written_to_meanwhile(path: Path, size: int) -> Iterator[Passage]:
        for number, passage in enumerate(read(path, size)):
            if number == 1:
                path.write_text("# Another\n\nOther words.\n")
            yield passage

    assert read_documents([notes], tmp_path).passages == 3_000
    monkeypatch.setattr(documents, "document_passages", written_to_meanwhile)
    with pytest.raises(UserError, match=r"notes\.md: was written to while it was read; learn it again once that is"):
        read_documents([notes], tmp_path)


def test_a_name_that_is_not_utf_8_is_read_and_what_cannot_lie_below_it_is_refused(tmp_path: Path) -> None:
    notes = tmp_path / os.fsdecode(b"caf\xe9.md")
    notes.write_text("They serve tea.\n")
    (row,) = rows_of(read_documents([notes], tmp_path).file)
    assert row == {"title": "caf", "context": "They serve tea.", "source": f"{tmp_path}/caf\ufffd.md"}
    with pytest.raises(UserError, match="its whole path holds bytes that are not UTF-8"):
        learnt([notes], "microworld", tmp_path / notes.stem)
    assert not (tmp_path / notes.stem).exists()


def test_a_full_disk_under_the_folder_for_temporary_files_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("".join(f"# Part {n}\n\nFact {n} is so.\n\n" for n in range(3_000)))
    with mounted(tmp_path / "disk", "16k") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
        with pytest.raises(SystemExit, match="2"):
            main(["learn", str(notes), "--into", str(tmp_path / "out")])
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("seal-ray: ")
        assert "No space left on device; make room" in line
        with pytest.raises(OSError, match="No space"):
            main(["learn", str(notes), "--into", str(tmp_path / "out"), "--debug"])
    assert not (tmp_path / "out").exists()
