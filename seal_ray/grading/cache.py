"""Verdicts remembered by content, so that no answer is paid for twice, in this run or a later one."""

from __future__ import annotations

import json
from pathlib import Path

from seal_ray.types import UserError


class VerdictCache:
    """Verdicts in memory, and in a JSONL file when a path is given: one line each, appended as they come."""

    def __init__(self, path: str | Path = "") -> None:
        self._path = Path(path) if path else None
        self._known: dict[str, bool] = {}
        if self._path and self._path.exists():
            self._read(self._path)

    def get(self, key: str) -> bool | None:
        return self._known.get(key)

    def put(self, key: str, verdict: bool) -> None:
        self._known[key] = verdict
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(key, verdict))

    def __len__(self) -> int:
        return len(self._known)

    def _read(self, path: Path) -> None:
        data = path.read_bytes()
        lines = data.splitlines()
        if lines and not data.endswith(b"\n"):
            lines.pop()  # cut short by a crash
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                self._known[str(row["key"])] = bool(row["verdict"])
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path}:{number}: not a cached verdict; mend the line or remove the file") from None
        if data and not data.endswith(b"\n"):
            path.write_text("".join(_line(*known) for known in self._known.items()), encoding="utf-8")


def _line(key: str, verdict: bool) -> str:
    return json.dumps({"key": key, "verdict": verdict}) + "\n"
