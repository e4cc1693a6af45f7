"""Which settings name files: their paths are the config's own, and what lies there is part of what a run is.

@dataclass(frozen=True)
class Options:
    train: PassagePath     # where passages are: as a source, but a run in turn may go on where it has more at its end
    template: SourcePath   # a file or folder that decides results: its content belongs to the run
    cache: WrittenPath     # a file that is written to: it belongs to nobody
    retries: Practical[int]  # how the work is done, not what comes of it: no part of what a run is
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from seal_ray.model.gguf import is_gguf
from seal_ray.model.hub import DATASET
from seal_ray.types import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Mark:
    """What an option is to a run."""

    path: bool
    decides: bool
    """Whether results depend on it."""


GROWS = "may have more passages at its end"
READS, WRITES, PRACTICAL = Mark(True, True), Mark(True, False), Mark(False, False)
SourcePath = Annotated[str, READS]
"""An option that names a file, a folder or a dataset whose content decides results; empty for none."""
PassagePath = Annotated[str, READS, GROWS]
"""The same of one that passages are read from."""
WrittenPath = Annotated[str, WRITES]
"""An option that names a file to write to; empty for none."""
Practical = Annotated[T, PRACTICAL]
"""An option that decides how something is done and not what comes of it."""


def marked(options: Any, *marks: Any) -> Iterator[str]:
    """Names of the fields of an Options class, or of one's instance, that carry one of these marks."""
    kind = options if isinstance(options, type) else type(options)
    if is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        said = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    else:  # a user's own may be a pydantic model
        said = {name: field.metadata for name, field in getattr(kind, "model_fields", {}).items()}
    yield from (name for name, metadata in said.items() if any(mark in metadata for mark in marks))


def source_paths(thing: Any) -> dict[str, str]:
    """What the options of a domain or a grader name to be read, where they name something; one may have no options."""
    options = getattr(thing, "options", None)
    return {name: value for name in marked(options, READS) if (value := str(getattr(options, name)))}


def must_exist(setting: str, path: str) -> None:
    """Refuse a source that is not there, and say where it was looked for."""
    if not path or path.startswith(DATASET) or Path(path).exists():
        return
    found = Path(Path(path).name)
    hint = f" (one of that name is in {found.absolute().parent}: a path in a config starts at the config's folder)"
    hub = f"; for a dataset of the Hugging Face hub write {DATASET}NAME"
    raise UserError(f"{setting}: {path}: no such file or folder{hint if found.exists() else hub}")


def at(tree: Any, keys: Sequence[str]) -> Any:
    """What stands at this place of a tree, or None."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def anchor(tree: dict[str, Any], settings: Sequence[str], base: Path) -> None:
    """Make paths whole: those of a file start at its folder, those of a command line where it was given."""
    for *sections, name in (setting.split(".") for setting in settings):
        section = at(tree, sections)
        path = section.get(name) if isinstance(section, dict) else None
        # A model may also be a name: of the hub, or of a base that ships with the package.
        if isinstance(path, str) and (name != "path" or _is_local(path, base)):
            section[name] = _anchored(path, base)


def _is_local(model: str, base: Path) -> bool:
    return model[:1] in (".", "~") or is_gguf(model) or (base / model).is_dir()


def _anchored(path: str, base: Path) -> str:
    """A path as it is meant in a config that lies in this folder, or on a command line given in it."""
    if not path or "://" in path or path.startswith(DATASET):
        return path
    return str((base / Path(path).expanduser()).absolute())
