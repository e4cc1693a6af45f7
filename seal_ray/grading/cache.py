"""Verdicts remembered by content, so that no answer is paid for twice, in this run, beside it or in a later one."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from seal_ray.plain import decoded
from seal_ray.types import UserError

logger = logging.getLogger(__name__)


class VerdictCache:
    """Verdicts in memory, and in a JSONL file when a path is given: one line each, appended as they come.

    Several runs may share the file. Nothing written is ever rewritten: a line that a kill or a full disk cut short is
    passed over, and what could not be written is kept and tried again with the next.
    """

    def __init__(self, path: str | Path = "") -> None:
        self._path = Path(path) if path else None
        self._known: dict[str, bool] = {}
        self._read_to = self._damaged = 0
        self._unwritten = ""
        if self._path:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"{path}: cannot be a file of verdicts: {error}") from None
            self._read(self._path)
            if self._damaged and not self._known:
                raise UserError(f"{path}: holds no verdicts; name another file as the cache, or remove this one")
            if self._damaged:
                logger.warning("%s: passed over where it is damaged (%d of its lines)", path, self._damaged)

    def get(self, key: str) -> bool | None:
        """A verdict that is known by now, here or to another run that shares the file."""
        if key not in self._known and self._path:
            self._read(self._path)
        return self._known.get(key)

    def put(self, key: str, verdict: bool) -> None:
        self._known[key] = verdict
        if self._path:
            said = bool(self._unwritten)
            self._unwritten += json.dumps({"key": key, "verdict": verdict}) + "\n"
            try:
                self._append(self._path)
            except OSError as error:
                if not said:
                    logger.warning("%s: verdicts are only in memory until it can be written (%s)", self._path, error)

    def __len__(self) -> int:
        return len(self._known)

    def _append(self, path: Path) -> None:
        """Write in one piece, on a line of its own whatever the last writer left behind."""
        with path.open("ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            lines = self._unwritten.encode()
            piece = lines if file.read(1) in (b"", b"\n") else b"\n" + lines
            if file.write(piece) == len(piece):
                self._unwritten = ""
            else:
                raise OSError("only part of it was written")

    def _read(self, path: Path) -> None:
        """What has been added since it was last read, up to the last whole line."""
        try:
            if path.stat().st_size <= self._read_to:
                return
            with path.open("rb") as file:
                file.seek(self._read_to)
                data = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"{path}: the verdicts in it cannot be read: {error}") from None
        lines, _, _ = data.rpartition(b"\n")
        self._read_to += len(lines) + 1 if b"\n" in data else 0
        for line in lines.split(b"\n"):
            if line.strip():
                self._learn(line)

    def _learn(self, line: bytes) -> None:
        try:
            row = decoded(line)
            key, verdict = row["key"], row["verdict"]
        except (ValueError, KeyError, TypeError):
            self._damaged += 1
            return
        if isinstance(key, str) and isinstance(verdict, bool):
            self._known.setdefault(key, verdict)
        else:
            self._damaged += 1
