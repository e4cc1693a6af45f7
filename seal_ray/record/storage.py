"""Where a run lives: one small set of whole-file operations over a local path or object storage."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path, PurePosixPath
from typing import IO

from pyarrow import fs

from seal_ray.types import UserError


class Store:
    """A directory that may be local or `s3://`, `gs://`. Files appear whole or not at all."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._fs, root = fs.FileSystem.from_uri(url if "://" in url else Path(url).absolute().as_uri())
        except Exception as error:
            raise UserError(f"{url}: not a place a run can live: {error}") from None
        self._root = PurePosixPath(root)
        self.local = Path(root) if isinstance(self._fs, fs.LocalFileSystem) else None

    def path(self, name: str) -> str:
        return str(self._root / name)

    def list(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted; empty when there is no such folder."""
        infos = self._fs.get_file_info(fs.FileSelector(self.path(folder), allow_not_found=True))
        names = [info.base_name for info in infos if info.type == fs.FileType.File]
        return sorted(name for name in names if not name.endswith(".tmp"))

    def exists(self, name: str) -> bool:
        return self._fs.get_file_info(self.path(name)).type != fs.FileType.NotFound

    def read(self, name: str) -> bytes:
        with self._fs.open_input_stream(self.path(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file; a reader, or the next process after a kill, sees all of it or none."""
        try:
            if self.local is None:  # an object appears when its upload completes
                with self._fs.open_output_stream(self.path(name)) as stream:
                    stream.write(data)
            else:
                _write_local(self.local / name, data)
        except OSError as error:
            raise UserError(f"{self.url}: cannot write {name}: {error.strerror or error}") from None

    def delete(self, name: str) -> None:
        self._fs.delete_file(self.path(name))

    def set_aside(self) -> None:
        """Give the whole directory the first free name beside it: one rename, so nothing is ever half moved."""
        if self.local is None:
            raise UserError(f"{self.url}: a run in object storage is not moved aside; choose another directory")
        names = (self.local.with_name(f"{self.local.name}.aside-{number}") for number in range(1, 10_000))
        try:
            self.local.rename(next(name for name in names if not name.exists()))
        except OSError as error:
            raise UserError(f"{self.url}: cannot be moved aside: {error.strerror}; choose another --run.dir") from None

    def lock(self) -> IO[str] | None:
        """Hold this directory for one driver; released by the system when the process ends, however it ends."""
        if self.local is None:
            return None
        try:
            self.local.mkdir(parents=True, exist_ok=True)
            handle = open(self.local / ".lock", "w")  # noqa: SIM115 - held open for the life of the run
        except OSError as error:
            raise UserError(f"{self.url}: cannot be written: {error.strerror or error}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(handle.fileno()), os.stat(self.local / ".lock")):
                raise BlockingIOError("the directory was set aside a moment ago")
        except OSError:
            handle.close()
            raise UserError(f"{self.url}: another process is at work here; wait for it, or stop it") from None
        return handle


def _write_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
