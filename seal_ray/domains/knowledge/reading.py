"""Reads passages from files, folders and Hugging Face datasets, one at a time: memory does not grow with the source.

passages("squad/train-v1.1.json")     SQuAD as published, or a list of title, context and questions
passages("notes.jsonl")               the same, one object a line; also .parquet
passages("handbook/")                 documents (.md, .txt, .pdf, .html, .docx), cut; questions are yet to be written
passages("hf:rajpurkar/squad#train")  a dataset of the Hugging Face hub; needs the package `datasets`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from seal_ray.domains.knowledge.documents import KINDS, document_passages
from seal_ray.domains.knowledge.passages import Passage, from_rows
from seal_ray.folders import files_in
from seal_ray.model.hub import DATASET, dataset_parts
from seal_ray.plain import decoded, first_decoded, first_line
from seal_ray.types import UserError

HUB = DATASET
_CHUNK = 1 << 16
_BETWEEN = re.compile(r"[\s,]*")

Rows = Iterator[tuple[str, Any]]


def passages(source: str) -> Iterator[Passage]:
    """All passages of a source, in its order; `UserError` names the place of the first unusable one."""
    if source.startswith(HUB):
        yield from from_rows(_hub_rows(source.removeprefix(HUB)))
        return
    path = Path(source)
    if not path.exists():
        raise UserError(f"{source}: no such file or folder; for a dataset of the Hugging Face hub write {HUB}NAME")
    files = sorted(_files(path)) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{source}: holds no file of a known form ({', '.join((*_READERS, *KINDS))})")
    for file in files:
        yield from _file(file)


def _files(folder: Path) -> Iterator[Path]:
    known = {path for path in files_in(folder) if path.suffix.lower() in (*_READERS, *KINDS)}
    # A dataset saved to disk describes itself in JSON files beside its tables.
    tables = {path for path in known if path.suffix.lower() in (".arrow", ".parquet")}
    yield from tables or known


def _file(path: Path) -> Iterator[Passage]:
    suffix = path.suffix.lower()
    try:
        if suffix in KINDS:
            yield from document_passages(path)
        elif suffix in _READERS:
            yield from from_rows(_READERS[suffix](path))
        else:
            raise UserError(f"{path}: unknown form; known: {', '.join((*_READERS, *KINDS))}")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); convert it, say with iconv") from None
    except UserError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise UserError(f"{path}: cannot be read: {error}") from None


def _json_lines(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield f"{path}:{number}", decoded(line)
                except ValueError as error:
                    raise UserError(f"{path}:{number}: not valid JSON: {error}") from None


def _json(path: Path) -> Rows:
    """The entries of the file's first list, decoded one by one: a large file never stands in memory whole."""
    number = 0
    with path.open(encoding="utf-8") as file:
        text = file.read(_CHUNK)
        at = _list_start(path, text)
        before = text[:at].lstrip("\ufeff")
        while True:
            at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
            if text.startswith("]", at):
                _refuse_more(path, before + text[at:] + file.read())
                return
            try:
                entry, at = first_decoded(text, at)
            except ValueError as error:
                # Reads at least as much again as is held, so that a long entry is not scanned over and over.
                more = file.read(max(_CHUNK, len(text) - at))
                if not more:
                    raise UserError(f"{path}: entry {number + 1}: not valid JSON: {error}") from None
                text, at = text[at:] + more, 0
                continue
            number += 1
            yield f"{path}: entry {number}", entry


def _list_start(path: Path, text: str) -> int:
    """Where the entries begin: in a bare list, or in the list under `data` as SQuAD has it."""
    body = text.lstrip("\ufeff \t\r\n")
    at = text.find("[")
    before = text[:at].split() if at >= 0 else [""]
    if body.startswith("[") or (body.startswith("{") and "".join(before).endswith('"data":')):
        return at + 1
    raise UserError(f'{path}: expected a list of passages, or SQuAD\'s object with a list under "data"')


def _refuse_more(path: Path, around: str) -> None:
    """Refuse a file of which the list of entries, left out here, is not the end, such as two that were joined."""
    try:
        decoded(around)
    except ValueError:
        raise UserError(
            f"{path}: does not end as JSON does after its list of entries: something was joined to it, or it was cut "
            "off; give one whole list, or a file .jsonl with an entry a line"
        ) from None


def _parquet(path: Path) -> Rows:
    import pyarrow.parquet as parquet

    yield from _rows(path, parquet.ParquetFile(path).iter_batches(batch_size=1024))


def _arrow(path: Path) -> Rows:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
        yield from _rows(path, stream)


def _rows(path: Path, batches: Iterable[Any]) -> Rows:
    rows = (row for batch in batches for row in batch.to_pylist())
    for number, row in enumerate(rows, start=1):
        yield f"{path}: row {number}", row


def _hub_rows(name: str) -> Rows:
    name, revision, split = dataset_parts(name)
    try:
        import datasets
    except ImportError:
        raise UserError(f"{HUB}{name} needs the package `datasets`; install it with: pip install datasets") from None
    try:
        rows = datasets.load_dataset(name, split=split, revision=revision, streaming=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{HUB}{name}: cannot be loaded: {first_line(error)}") from None
    for number, row in enumerate(rows, start=1):
        yield f"{HUB}{name}: row {number}", row


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".json": _json,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
