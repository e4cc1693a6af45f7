"""Which base model a config means, checked before anything is started. No torch here."""

from __future__ import annotations

import fcntl
import os
import shutil
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from seal_ray.model import fingerprint
from seal_ray.plain import first_line
from seal_ray.types import UserError, content_key

if TYPE_CHECKING:
    from pyarrow import fs  # the bench runs on machines that do not have it

SHIPPED = ("microworld", "arcworld")
"""Small bases that come with the package, named by their domain."""
_KINDS = ("json", "safetensors", "txt", "model", "jinja")


def resolve(path: str) -> str:
    """A shipped base's folder, a checked local folder, or a hub name or a place in object storage as given."""
    if path in SHIPPED:
        return str(files("seal_ray.domains") / path / "base")
    if "://" in path:
        _stored(path)
        return path
    local = Path(path).expanduser()
    if local.is_dir():
        if not (local / "config.json").is_file():
            raise UserError(f"model.path {path!r} is no model: the folder has no config.json")
        if not any(local.glob("*.safetensors")):
            raise UserError(f"model.path {path!r} has no *.safetensors weights; other formats are not loaded")
        return str(local.absolute())
    if local.exists() or path.startswith(("/", "./", "../", "~")) or path.count("/") > 1:
        raise UserError(f"model.path {path!r} is neither a model folder nor a hub name (org/model)")
    return path


def on_hub(path: str) -> bool:
    """Whether this is a name on the hub, and neither a folder here nor in object storage."""
    place = resolve(path)
    return "://" not in place and not Path(place).is_dir()


def contents(path: str, revision: str | None) -> dict[str, str]:
    """What a model is, file by file: the hash of all that is loaded from it; of a hub's, its name and commit."""
    place = resolve(path)
    if "://" in place:
        _, found = _stored(place)
        return {f"model.path: {info.base_name}": f"{info.size} bytes of {info.mtime_ns}" for info in found}
    if not Path(place).is_dir():
        return {"model.path": f"{place}@{revision or 'main'}"}
    loaded = {file.name: file for file in Path(place).iterdir() if file.suffix.removeprefix(".") in _KINDS}
    return {f"model.path: {name}": found for name, found in fingerprint.of_files(loaded).items()}


def local_copy(path: str) -> str:
    """The path of a model on this node; one in object storage is copied once, for all workers and later runs here."""
    if "://" not in path:
        return path
    from pyarrow import fs

    store, found = _stored(path)
    key = content_key(path, [(info.base_name, info.size, info.mtime_ns) for info in found])
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seal_ray" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            for info in found:
                fs.copy_files(info.path, str(part / info.base_name), store, fs.LocalFileSystem())
            part.rename(folder)
    return str(folder)


def _stored(url: str) -> tuple[fs.FileSystem, list[fs.FileInfo]]:
    """The files of a model in object storage: its weights as safetensors, and texts. Nothing that could be run."""
    from pyarrow import fs

    try:
        store, root = fs.FileSystem.from_uri(url)
        infos = store.get_file_info(fs.FileSelector(root))
    except Exception as error:  # each storage raises its own
        raise UserError(f"model.path {url!r} cannot be read: {first_line(error)}") from None
    found = sorted((info for info in infos if info.extension in _KINDS), key=lambda info: info.base_name)
    names = [info.base_name for info in found]
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise UserError(f"model.path {url!r} is no model: it needs a config.json and *.safetensors weights")
    return store, found
