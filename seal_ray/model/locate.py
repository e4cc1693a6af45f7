"""Which base model a config means, checked before anything is started. No torch here."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from seal_ray.model import cache, fingerprint
from seal_ray.model.gguf import checked, converted, is_gguf
from seal_ray.plain import first_line
from seal_ray.types import UserError, content_key

if TYPE_CHECKING:
    from pyarrow import fs  # the bench runs on machines that do not have it

SHIPPED = ("microworld", "arcworld")
"""Small bases that come with the package, named by their domain."""
_KINDS = ("json", "safetensors", "txt", "model", "jinja")


def resolve(path: str) -> str:
    """A shipped base's folder, a checked local folder or GGUF file, or a name on the hub or in a storage as given."""
    if path in SHIPPED:
        return str(files("seal_ray.domains") / path / "base")
    if "://" in path:
        _stored(path)
        return path
    local = Path(path).expanduser()
    if local.is_dir():
        if not (local / "config.json").is_file():
            if found := sorted(file.name for file in local.iterdir() if is_gguf(file.name)):
                raise UserError(f"model.path {path!r} is a folder of GGUF files; name one: {local / found[0]}")
            raise UserError(f"model.path {path!r} is no model: the folder has no config.json")
        if not any(local.glob("*.safetensors")):
            raise UserError(f"model.path {path!r} has no *.safetensors weights; other formats are not loaded")
        return str(local.absolute())
    if is_gguf(path) and local.is_file():
        return str(checked(path, local.absolute()))
    if is_gguf(path):
        raise UserError(f"model.path {path!r}: no such file")
    if local.exists() or path.startswith(("/", "./", "../", "~")) or path.count("/") > 1:
        raise UserError(f"model.path {path!r} is neither a model folder nor a hub name (org/model)")
    return path


def on_hub(path: str) -> bool:
    """Whether this is a name on the hub, and neither a folder here nor in object storage."""
    place = resolve(path)
    return "://" not in place and not Path(place).exists()


def contents(path: str, revision: str | None) -> dict[str, str]:
    """What a model is, file by file: the hash of all that is loaded from it; of a hub's, its name and commit."""
    place = resolve(path)
    if "://" in place:
        _, found = _stored(place)
        return {f"model.path: {info.base_name}": f"{info.size} bytes of {info.mtime_ns}" for info in found}
    if on_hub(path):
        return {"model.path": f"{place}@{revision or 'main'}"}
    if is_gguf(place):
        return {"model.path": fingerprint.of_file(Path(place))}
    loaded = {file.name: file for file in Path(place).iterdir() if file.suffix.removeprefix(".") in _KINDS}
    return {f"model.path: {name}": found for name, found in fingerprint.of_files(loaded).items()}


def local_copy(path: str) -> str:
    """The path of a model on this node, as a folder or a name on the hub.

    One in object storage is copied, and one in a GGUF file converted, once for all workers and later runs here.
    """
    if "://" in path:
        store, found = _stored(path)
        key = content_key(path, [(info.base_name, info.size, info.mtime_ns) for info in found])
        folder = cache.once(key, lambda part: _copy(store, found, part))
        path = str(folder / found[0].base_name) if is_gguf(path) else str(folder)
    return str(converted(path)) if is_gguf(path) else path


def stored_text(url: str, name: str) -> str | None:
    """The text of one file of a model's folder in object storage; None where it has none. Nothing else is fetched."""
    store, found = _stored(url)
    info = next((info for info in found if info.base_name == name), None)
    if info is None:
        return None
    try:
        with store.open_input_stream(info.path) as content:
            return str(content.read().decode())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"model.path {url!r}: {name} cannot be read: {first_line(error)}") from None


def _copy(store: fs.FileSystem, found: list[fs.FileInfo], folder: Path) -> None:
    from pyarrow import fs

    for info in found:
        fs.copy_files(info.path, str(folder / info.base_name), store, fs.LocalFileSystem())


def _stored(url: str) -> tuple[fs.FileSystem, list[fs.FileInfo]]:
    """The files of a model in object storage: its weights as safetensors, and texts. Nothing that could be run."""
    from pyarrow import fs

    try:
        store, root = fs.FileSystem.from_uri(url)
        one = is_gguf(url)
        infos = [store.get_file_info(root)] if one else store.get_file_info(fs.FileSelector(root))
    except Exception as error:  # each storage raises its own
        raise UserError(f"model.path {url!r} cannot be read: {first_line(error)}") from None
    if one:
        if infos[0].type != fs.FileType.File:
            raise UserError(f"model.path {url!r}: no such file")
        return store, infos
    found = sorted((info for info in infos if info.extension in _KINDS), key=lambda info: info.base_name)
    names = [info.base_name for info in found]
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise UserError(f"model.path {url!r} is no model: it needs a config.json and *.safetensors weights")
    return store, found
