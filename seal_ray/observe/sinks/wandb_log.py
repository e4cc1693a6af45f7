"""What a file of W&B's holds: its records, as W&B appends them before it sends them anywhere.

The format is LevelDB's log: blocks of 32 KiB, in which a record lies in one piece, or in a first, middle and last one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_MARK = b":W&B"
_BEGIN = 7
"""Bytes before the first record: the mark, and W&B's version of the format."""
_BLOCK = 1 << 15
_HEAD = struct.Struct("<IHB")
"""Before every piece: its checksum, its length, and which piece it is."""
_WHOLE, _LAST = 1, 4


def records(path: Path) -> Iterator[bytes]:
    """The records of a file, up to one that was cut short by a kill."""
    data = path.read_bytes()
    at, record = _BEGIN if data.startswith(_MARK) else len(data), b""
    while at + _HEAD.size <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEAD.size:  # too little for another piece in this block
            at += left
            continue
        _, length, piece = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if at + length > len(data) or not piece:
            return
        record += data[at : at + length]
        at += length
        if piece in (_WHOLE, _LAST):
            yield record
            record = b""
