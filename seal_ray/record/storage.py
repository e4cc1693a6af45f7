"""The place where a run lives: one small set of whole-file operations over a local folder or object storage."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from seal_ray.plain import first_line
from seal_ray.record.lease import Lease
from seal_ray.record.local import LocalFiles
from seal_ray.types import UserError


class Store:
    """A directory that may be local or `s3://`, `gs://`. Files appear whole or not at all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._check: Callable[[], None] = lambda: None
        self.local: Path | None = None
        self._files: Any
        self._errors: tuple[type[Exception], ...] = (OSError,)
        if "://" not in url or url.startswith("file://"):
            self.local = Path(unquote(urlsplit(url).path) if "://" in url else url).absolute()
            self._files = LocalFiles(self.local)
            return
        from seal_ray.record.objects import ERRORS, Objects  # not needed for a folder

        self._errors = (OSError, *ERRORS)
        try:
            self._files = Objects(url)
        except ERRORS as error:
            raise UserError(f"{url}: not a place a run can live: {first_line(error)}") from None

    def path(self, name: str) -> str:
        return str(self.local / name) if self.local else str(PurePosixPath(self.url) / name)

    def walk(self, folder: str) -> dict[str, int]:
        """Sizes of all files in a folder and below, by their names; half-written ones are left out."""
        with self._named("list", folder):
            found: dict[str, int] = self._files.walk(folder)
        return {name: size for name, size in found.items() if not name.endswith(".tmp")}

    def exists(self, name: str) -> bool:
        with self._named("look for", name):
            return bool(self._files.exists(name))

    def read(self, name: str) -> bytes:
        """A file's bytes; `FileNotFoundError` when there is none."""
        with self._named("read", name):
            data: bytes = self._files.read(name)
            return data

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file; a reader, or the next process after a kill, sees all of it or none."""
        with self._named("write", name):
            while self._checked() and self._files.write(name, data) is False:  # another came between: look again
                continue

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that is not there yet; False, and nothing is written, when there is one."""
        with self._named("write", name):
            return self._checked() and bool(self._files.create(name, data))

    def overwrite(self, name: str, data: bytes) -> None:
        """Write a file that is this process's own, without asking whether it may: the lease itself."""
        with self._named("write", name):
            self._files.write(name, data)

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        with self._named("delete", name):
            self._files.delete(name)

    def delete_temporary(self, folder: str) -> None:
        """Delete what was half-written when a process was killed. Only for who holds this directory."""
        with self._named("list", folder):
            left = [name for name in self._files.walk(folder) if name.endswith(".tmp")]
        for name in left:
            self.delete(name)

    def move(self, name: str, to: str) -> None:
        """Give a file another name here."""
        with self._named("move", name):
            self._files.move(name, to)

    def set_aside(self) -> None:
        """Give the whole directory the first free name beside it: one rename, so nothing is ever half moved.

        A symbolic link to it stays, and leads to an empty one, on the disk that it was made for.
        """
        if self.local is None:
            raise UserError(f"{self.url}: a run in object storage is not moved aside; choose another directory")
        place = self.local.resolve()
        names = (place.with_name(f"{place.name}.aside-{number}") for number in range(1, 10_000))
        try:
            self._files.rename(next(name for name in names if not name.exists()))
        except OSError as error:
            raise UserError(f"{self.url}: cannot be moved aside: {error.strerror}; choose another --run.dir") from None

    def lock(self) -> Hold:
        """Hold this directory for one driver: until it closes this, or ends in any way.

        A local folder is held by a lock of the system; where there is none, and in object storage, by a lease.
        """
        if self.local:
            try:
                handle = self._files.lock()
            except BlockingIOError:
                raise UserError(f"{self.url}: another process is at work here; wait for it, or stop it") from None
            except OSError as error:
                raise UserError(f"{self.url}: cannot be written: {error.strerror or error}") from None
            if handle is not None:
                self._check = partial(self._files.check_held, handle)
                return Hold(partial(self._let_go, partial(os.close, handle)))
        lease = Lease.acquire(self)
        self._check = lease.check
        return Hold(lease.close)

    def _let_go(self, release: Callable[[], None]) -> None:
        self._check = lambda: None
        release()

    def _checked(self) -> bool:
        self._check()
        return True

    @contextmanager
    def _named(self, doing: str, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except self._errors as error:
            raise UserError(f"{self.url}: cannot {doing} {name}: {first_line(error)}") from None


class Hold:
    """A directory held for one driver."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    def close(self) -> None:
        """Let the next one have it; closing twice is closing once."""
        release, self._release = self._release, lambda: None
        release()


def below(directory: str, name: str) -> str:
    """A file or folder in a run's directory; the options of an object storage's URL stay at its end."""
    place, mark, options = directory.partition("?") if "://" in directory else (directory, "", "")
    return f"{place.rstrip('/')}/{name}{mark}{options}"
