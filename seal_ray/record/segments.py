"""One piece of a table: rows as a Parquet file whose every page, and whose whole, has a checksum."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seal_ray.record import schema
from seal_ray.types import UserError

logger = logging.getLogger(__name__)

_PLACE = "seal_ray.place"


class Damaged(UserError):
    """A part of the record is not what was written; the message names the command that sets it aside."""


@dataclass(frozen=True)
class Segment:
    """What the manifest knows of a file.

    `level` says how often its rows were merged, `place` under which name the first of them was first written. Without
    `sha256` it is a file of the first version, of which nothing is known.
    """

    name: str
    rows: int
    size: int
    sha256: str
    level: int = 0
    place: str = ""


def arrow(rows: Sequence[dict[str, Any]], columns: pa.Schema) -> tuple[pa.Table, list[Exception]]:
    """Rows as a table. Text that no file can hold is fixed; what still does not fit is left out, with its error."""
    try:
        return pa.Table.from_pylist(rows, columns), []
    except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError):
        pass
    good, errors = [], []
    for row in rows:
        fixed = {name: _fixed(value) for name, value in row.items()}
        try:
            good.append(pa.Table.from_pylist([fixed], columns))
        except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError) as error:
            error.add_note(f"in a row of the journal: {str(fixed)[:500]}")
            errors.append(error)
    return pa.concat_tables(good) if good else columns.empty_table(), errors


def encode(table: pa.Table, place: str, run: str | None) -> bytes:
    """A table as the bytes of a file that names its run; `place` orders segments where no manifest does."""
    metadata = schema.stamp(run) | {_PLACE: place}
    buffer = io.BytesIO()
    table = table.replace_schema_metadata(metadata)
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def decode(data: bytes, columns: pa.Schema, known: Segment) -> pa.Table:
    """The rows of a file; `ValueError` says what is wrong with it."""
    if known.sha256 and (len(data) != known.size or checksum(data) != known.sha256):
        raise ValueError(f"{known.rows} rows, and its checksum differs")
    try:
        # Not `read_table`, whose threads and datasets take 20 MB of the driver.
        table = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read(use_threads=False)
        known_as = set(table.column_names)  # a column that is new since then is empty
        found = [table[each.name] if each.name in known_as else pa.nulls(len(table), each.type) for each in columns]
        return pa.Table.from_arrays(found, schema=columns)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise ValueError(str(error).splitlines()[0][:200] if str(error) else "it cannot be read") from None


def place_of(data: bytes) -> str:
    """The place a file was written with."""
    return metadata_of(data).get(_PLACE.encode(), b"").decode()


def metadata_of(data: bytes) -> dict[bytes, bytes]:
    """What a file says of itself beside its rows."""
    return pq.read_metadata(io.BytesIO(data)).metadata or {}


def checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def once(table: pa.Table) -> pa.Table:
    """One row a key, the first, in the order first written."""
    seen: set[str] = set()
    keep = [not (key in seen or seen.add(key)) for key in table["key"].to_pylist()]  # type: ignore[func-returns-value]
    return table if all(keep) else table.filter(pa.array(keep, pa.bool_()))


def _fixed(value: Any) -> Any:
    """Text without lone surrogates, which UTF-8 has no bytes for."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not value.isascii() else value
    if isinstance(value, list | tuple):
        return [_fixed(each) for each in value]
    return value
