"""What was measured, on record as soon as it is: one JSON file, with which another call goes on."""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seal_ray.model import fingerprint
from seal_ray.plain import decoded
from seal_ray.record.storage import Store
from seal_ray.types import UserError, content_key

ROOT = Path(__file__).parents[2]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """What a check is of. What is on record of another says nothing of this one."""

    device: str
    code: str
    """The content of this project's own code, which tells more than a commit and needs no git."""
    weights: str
    torch: str
    rehearsed: bool

    @property
    def key(self) -> str:
        return content_key("gpu-check", asdict(self))


class Record:
    """The pieces of a check, by part and name. Each is measured once."""

    def __init__(self, path: Path, subject: Subject, say: Say) -> None:
        self._store, self._name, self._say = Store(str(path.absolute().parent)), path.name, say
        self.key, self.checks = subject.key, self._read(path)
        self.check = self.checks.setdefault(self.key, asdict(subject) | {"commit": commit(), "parts": {}})
        self.measured = 0

    def piece(self, part: str, name: str, measure: Callable[[], dict[str, Any]], *of: Any) -> dict[str, Any]:
        """What is on record for a piece, or what measuring it results in, on record from then on.

        `of` is what its figures depend on beside the subject; where that has changed, it is measured again.
        """
        pieces = self.check["parts"].setdefault(part, {})
        known = pieces.get(name)
        if known and known["of"] == content_key(*of):
            return known["found"]  # type: ignore[no-any-return]
        started = time.perf_counter()
        found = _plain(measure())
        seconds = round(time.perf_counter() - started, 1)
        date = time.strftime("%Y-%m-%d", time.gmtime())
        pieces[name] = {"of": content_key(*of), "date": date, "seconds": seconds, "found": found}
        self.check["date"] = date
        self.measured += 1
        self._store.write(self._name, json.dumps({"checks": self.checks}, indent=1, allow_nan=False).encode())
        self._say(f"{part}: {name}, {seconds} s")
        return found  # type: ignore[no-any-return]

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found = decoded(self._store.read(self._name))
        except FileNotFoundError:
            return {}
        except ValueError:
            found = None
        if not (isinstance(found, dict) and isinstance(found.get("checks"), dict)):
            raise UserError(f"{path}: holds something else than such a check; name another file with --out")
        return found["checks"]  # type: ignore[no-any-return]


def code() -> str:
    """The content of all code that is measured, and of what measures it."""
    files = [file for folder in ("seal_ray", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
    return content_key(fingerprint.of_files({str(file.relative_to(ROOT)): file for file in sorted(files)}))


def commit() -> str:
    """The commit that is checked out, where git can tell."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()


def _plain(value: Any) -> Any:
    """As JSON can hold it: what is no number is null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
