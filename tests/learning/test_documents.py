"""Documents are read as they stand at one time, or refused in a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seal_ray.domains.knowledge.passages import Passage
from seal_ray.learning import documents
from seal_ray.learning.documents import read_documents
from seal_ray.types import UserError


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
