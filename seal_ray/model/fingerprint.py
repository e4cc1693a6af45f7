"""What files hold, as hashes: equal for equal content, wherever it lies, and different when a single bit is.

Every byte is read, because a weight that changed is to be found whichever it is. A large file is read once: its hash
is remembered on this machine beside the file's size, times and inode, so a run that is continued does not read 15 GB
of weights again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from seal_ray.folders import files_in
from seal_ray.model import cache
from seal_ray.types import UserError, content_key

_LARGE = 1 << 24
"""Bytes; smaller files are read faster than looked up."""
_SETTLED = 2.0
"""Seconds a file must have lain still to be remembered: a later change then shows in its times."""
_SHORT = 24


def of_file(path: Path) -> str:
    """The hash of a file's content."""
    begun = time.monotonic()
    try:
        state = path.stat()
        remembered = _cache() / content_key(
            str(path.resolve()), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
        )
        if state.st_size >= _LARGE and remembered.is_file():
            return remembered.read_text(encoding="ascii")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()[:_SHORT]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    # Where this machine's clock is behind the file system's, the time that reading took says it.
    lay_still = max(time.time() - max(state.st_mtime, state.st_ctime), time.monotonic() - begun)
    if state.st_size >= _LARGE and lay_still > _SETTLED:
        _remember(remembered, found)
    return found


def of_files(files: Mapping[str, Path]) -> dict[str, str]:
    """The hash of each, several read at a time."""
    with ThreadPoolExecutor(min(8, max(1, len(files)))) as readers:
        return dict(zip(files, readers.map(of_file, files.values()), strict=True))


def of_path(path: Path) -> str:
    """The hash of a file, or of what is a source's in a folder, by the files' names."""
    if not path.is_dir():
        return of_file(path)
    names = sorted(str(file.relative_to(path)) for file in files_in(path))
    return content_key("folder", of_files({name: path / name for name in names}))


def _cache() -> Path:
    return cache.home() / "hashes"


def _remember(place: Path, found: str) -> None:
    """Whole or not at all; a cache that cannot be written costs the next run its reading, and nothing else."""
    part = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(found, encoding="ascii")
        part.replace(place)
    except OSError:
        part.unlink(missing_ok=True)
