"""A config in layers: the files that a file extends, the file itself, overlays on it, and the command line.

    extends = "knowledge.toml"      # first line of a TOML file: its path starts at this file's folder

Tables of a later layer are merged into those of an earlier one; any other value replaces what was there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal_ray.types import UserError

EXTENDS = "extends"
DEPTH = 8
"""Files that may extend one another in a row; more are a slip, and nobody could read them."""

_LONGEST = 30_000
"""Characters, several times all settings written out; a key of many dots takes the square of their number to read."""


@dataclass(frozen=True)
class Layer:
    """What one source says, and where its relative paths start."""

    where: str
    tree: dict[str, Any]
    folder: Path


def file_layers(path: str | Path) -> list[Layer]:
    """A TOML file after all that it extends, the most basic first."""
    layers: list[Layer] = []
    trail: list[Path] = []
    following: str | Path | None = path
    while following is not None:
        file = Path(following)
        resolved = file.resolve()
        if resolved in trail:
            raise UserError(
                f"{layers[-1].where}: extends {file.name!r}, which extends this file again; break the circle"
            )
        if len(trail) > DEPTH:
            raise UserError(f"{path}: more than {DEPTH} files extend one another; merge some")
        trail.append(resolved)
        by = f" (extended by {layers[-1].where})" if layers else ""
        tree = _read(file, by)
        base = tree.pop(EXTENDS, None)
        if base is not None and not (isinstance(base, str) and base):
            raise UserError(f"{file}: {EXTENDS!r} must be the path of one TOML file (got {base!r})")
        layers.append(Layer(str(file), tree, file.absolute().parent))
        following = None if base is None else file.parent / Path(base).expanduser()
    return layers[::-1]


def merged(trees: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One tree of many; the inputs stay as they are."""
    result: dict[str, Any] = {}
    for tree in trees:
        _merge(result, tree)
    return result


def said_by(layers: Sequence[Layer], keys: Sequence[Any]) -> str:
    """The last layer that has this place of the tree; the last layer of all where none has."""
    for layer in reversed(layers):
        if _has(layer.tree, keys):
            return layer.where
    return layers[-1].where


def _has(tree: Any, keys: Sequence[Any]) -> bool:
    for key in keys:
        if isinstance(tree, dict) and key in tree:
            tree = tree[key]
        else:
            return not isinstance(tree, dict)  # inside a value, such as one entry of a list
    return True


def _merge(into: dict[str, Any], tree: dict[str, Any]) -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            below = into.get(key)
            if not isinstance(below, dict):
                below = into[key] = {}
            _merge(below, value)
        else:
            into[key] = value


def _read(path: Path, by: str) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if len(text) > _LONGEST:
            raise UserError(f"{path}: {len(text)} characters are no config of a run; give the TOML file of one")
        return tomllib.loads(text)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such config file{by}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}{by}") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not valid TOML: {error}{by}") from None
