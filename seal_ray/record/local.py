"""Files of a local folder, each written whole: a reader, or the next process after a kill, sees all of one or none."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from seal_ray.types import UserError

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class LocalFiles:
    """A folder on this machine, or on a file system that several machines see."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def walk(self, folder: str) -> dict[str, int]:
        """Sizes of all files in a folder and below, by their names from the root; nothing when it is not there."""
        found: dict[str, int] = {}
        for place, _, names in os.walk(self.root / folder, onerror=_unless_gone):
            for name in names:
                path = Path(place, name)
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    found[path.relative_to(self.root).as_posix()] = path.stat().st_size
        return found

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def read(self, name: str) -> bytes:
        with open(self.root / name, "rb", opener=_at_once) as file:
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        target = self.root / name
        with _temporary(target, data) as temporary:
            os.replace(temporary, target)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that is not there yet; False, and nothing is written, when it is."""
        target = self.root / name
        with _temporary(target, data) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return _reserve(target, data)
        return True

    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def move(self, name: str, to: str) -> None:
        target = self.root / to
        _make(target.parent)
        os.replace(self.root / name, target)
        for folder in {target.parent, (self.root / name).parent}:
            _sync(folder)

    def rename(self, target: Path) -> None:
        """Give the whole folder another name beside its own; a link to it leads to an empty one then."""
        place = self.root.resolve()
        place.rename(target)
        _sync(target.parent)
        if self.root.is_symlink():
            _make(place)

    def lock(self) -> int | None:
        """An open `.lock` that this process alone holds until it ends; None where the file system has no locks.

        It is opened without following a link and without emptying: whatever it is, it may be somebody's.
        """
        if os.path.lexists(self.root) and not self.root.is_dir():
            what = "a symbolic link that leads to no folder" if self.root.is_symlink() else "no folder"
            raise UserError(f"{self.root}: is {what}; remove it, or name another directory")
        _make(self.root)
        path = self.root / ".lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UserError(f"{path} is a symbolic link, which no run makes; remove it") from None
            raise
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(handle), os.stat(path)):
                raise BlockingIOError("the directory was set aside a moment ago")
        except (BlockingIOError, FileNotFoundError):
            os.close(handle)
            raise BlockingIOError from None
        except OSError as error:
            os.close(handle)
            if error.errno in _NO_LOCKS:
                return None
            raise
        return handle

    def check_held(self, handle: int) -> None:
        """Refuse to write where the folder of this lock is no more: it would be made anew, with half of a record."""
        path = self.root / ".lock"
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return
        raise UserError(
            f"{self.root}: was moved or removed, or its .lock was, while this process was at work in it, which writes "
            "nothing more; `seal-ray resume` goes on with it where it is now"
        )


def _at_once(path: str, flags: int) -> int:
    """A file, opened without waiting for a writer where it is a pipe: nothing is in that."""
    return os.open(path, flags | os.O_NONBLOCK)


def _unless_gone(error: OSError) -> None:
    """A folder that may not be read must not look like an empty one."""
    if not isinstance(error, FileNotFoundError):
        raise error


@contextlib.contextmanager
def _temporary(target: Path, data: bytes) -> Iterator[Path]:
    """The bytes, safely on disk beside where they shall go, and the folder with them once they went there."""
    _make(target.parent)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        _make_file(temporary, data)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
    _sync(target.parent)


def _reserve(target: Path, data: bytes) -> bool:
    """Without links: whoever makes the file has it, and fills it."""
    try:
        _make_file(target, data)
    except FileExistsError:
        return False
    return True


def _make_file(path: Path, data: bytes) -> None:
    """A new file, safely on disk; `FileExistsError` where there is one."""
    with open(path, "xb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _make(folder: Path) -> None:
    """A folder and those above it, each on disk before anything is put into it."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Put a folder's names on disk after a rename, which a power cut could otherwise undo."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system whose folders need no syncing
            raise
    finally:
        os.close(handle)
