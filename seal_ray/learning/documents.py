"""The documents that are learnt, as one file of passages that belongs to the run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seal_ray.domains.knowledge.documents import KINDS, document_passages
from seal_ray.domains.knowledge.passages import Passage
from seal_ray.folders import files_in
from seal_ray.plain import kept
from seal_ray.record.storage import Store
from seal_ray.record.unspaced import spaced
from seal_ray.types import UserError

logger = logging.getLogger(__name__)

_CHARACTERS = 700
"""Of a passage. Small models write questions best about a few sentences."""


@dataclass(frozen=True)
class Documents:
    """Passages in a file, read and ready to be learnt."""

    file: Path
    passages: int
    words: int
    key: str
    """Equal for equal passages in the same order."""

    def move_to(self, store: Store, name: str) -> None:
        """Let the run have them under this name, whole or not at all."""
        store.write(name, self.file.read_bytes())


def read_documents(files: Sequence[str | os.PathLike[str]], scratch: Path) -> Documents:
    """Every passage of these files and folders, written to a file of its own; `UserError` names one without any."""
    if not files:
        raise UserError("nothing to learn: give a document (.md, .txt, .pdf, .html, .docx), or a folder of them")
    place, seen = scratch / "documents.jsonl", set[str]()
    with place.open("w", encoding="utf-8") as out:
        for source, passage in _passages(files):
            if passage.key in seen:  # said twice is learnt once
                continue
            seen.add(passage.key)
            row = {"title": passage.title, "context": passage.context, "source": kept(source)}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return known_documents(place)


def known_documents(place: Path) -> Documents:
    """The documents that a run holds already."""
    if not place.is_file():
        raise UserError(f"{place}: missing; give the documents again with `seal-ray learn FILE… --into {place.parent}`")
    digest, count, words = hashlib.sha256(), 0, 0
    for row in rows_of(place):
        digest.update(json.dumps([row["title"], row["context"]]).encode())
        count, words = count + 1, words + len(spaced(row["context"]).split())
    return Documents(place, count, words, digest.hexdigest()[:24])


def rows_of(file: Path) -> Iterator[dict[str, str]]:
    """The passages in such a file, one at a time: each a title, a context, and the document as its source."""
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def keys_of(file: Path) -> set[str]:
    """The passages in a file of passages, by their texts."""
    return {Passage(row["title"], row["context"]).id for row in rows_of(file)}


def _passages(files: Sequence[str | os.PathLike[str]]) -> Iterator[tuple[str, Passage]]:
    for file in files:
        path = Path(file)
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        if path.is_dir():
            yield from _of_folder(path)
            continue
        if path.suffix.lower() not in KINDS:
            raise UserError(f"{path}: unknown kind of document; known: {', '.join(KINDS)}")
        found = False
        for passage in _read(path):
            found = True
            yield str(path), passage
        if not found:
            raise UserError(f"{path}: holds no text")


def _of_folder(folder: Path) -> Iterator[tuple[str, Passage]]:
    paths = sorted(path for path in files_in(folder) if path.suffix.lower() in KINDS)
    found = False
    for path in paths:
        empty = True
        for passage in _read(path):
            found, empty = True, False
            yield str(path), passage
        if empty:
            logger.warning("%s: holds no text; left out", path)
    if not found:
        raise UserError(f"{folder}: holds no document with text ({', '.join(KINDS)})")


def _read(path: Path) -> Iterator[Passage]:
    try:
        before = _state(path)
        yield from document_passages(path, _CHARACTERS)
        if _state(path) != before:
            raise UserError(f"{path}: was written to while it was read; learn it again once that is done")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); convert it, say with iconv") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _state(path: Path) -> tuple[int, ...]:
    """Another once the file is written to, or another is put in its place."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
