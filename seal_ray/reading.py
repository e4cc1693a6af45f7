"""A config in layers: the files that a file extends, the file itself, overlays on it, and the command line.

    extends = "knowledge.toml"      # first line of a TOML file: its path starts at this file's folder

Tables of a later layer are merged into those of an earlier one; any other value replaces what was there.
Then the whole is made the frozen dataclass that it stands for (`typed`), and back again for a record (`as_tree`).
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from seal_ray.plain import one_line
from seal_ray.types import UserError

T = TypeVar("T")

EXTENDS = "extends"
COMMAND_LINE = "the command line"
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


def said_by(layers: Sequence[Layer], keys: Sequence[Any], overrides: Iterable[Sequence[str]] = ()) -> str:
    """Who said last what stands at this place of the tree: the command line, or a file; the last file where nobody did.

    The overrides are the keys of what the command line sets.
    """
    place = list(keys)
    given = [list(override) for override in overrides]
    if any(override == place[: len(override)] for override in given):
        return COMMAND_LINE
    for layer in reversed(layers):
        if _has(layer.tree, keys):
            return layer.where
    return COMMAND_LINE if any(place == override[: len(place)] for override in given) else layers[-1].where


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
        text = path.read_text(encoding="utf-8-sig")  # as some editors save it
        if len(text) > _LONGEST:
            raise UserError(f"{path}: {len(text)} characters are no config of a run; give the TOML file of one")
        return tomllib.loads(text)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such config file{by}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the TOML file of a config{by}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}{by}") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not valid TOML: {error}{by}") from None


def overriding(arguments: Sequence[str]) -> Iterator[tuple[list[str], Any]]:
    """Keys and value of each `--section.key value` or `--section.key=value` of a command line."""
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--") or flag == "--":
            raise UserError(f"unexpected argument {flag!r}; settings are given as --section.key value")
        name, equals, inline = flag[2:].partition("=")
        if not equals and not rest:
            raise UserError(f"{flag} needs a value, as in {flag} VALUE")
        if name.partition(".")[0] == EXTENDS:
            raise UserError(
                f"--{EXTENDS}: a file extends another; on the command line, lay one on it with --overlay FILE"
            )
        yield name.replace("-", "_").split("."), _value(inline if equals else rest.pop(0))


def _value(text: str) -> Any:
    """Numbers, booleans, null and lists as JSON writes them; anything else is a string."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def put(tree: dict[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of a tree with this value at this place."""
    section = tree
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise UserError(f"--{'.'.join(keys)}: {key!r} is a value, not a section")
    section[keys[-1]] = value
    return tree


@dataclass(frozen=True)
class Wrong:
    """One value of a tree that does not fit, or one that is missing."""

    keys: tuple[Any, ...]
    """Where it is."""
    said: str
    given: Any = None
    unknown: bool = False
    missing: bool = False
    apart: bool = False
    """Whether it is a table whose values are each right, and do not go together."""

    def explained(self, kind: Any, also: Sequence[str] = ()) -> str:
        """What is wrong, with the nearest of the keys that `kind` knows there (and `also` these) for an unknown one."""
        path = ".".join(map(str, self.keys))
        if self.missing:
            return f"{path!r} is missing"
        if not self.unknown:
            where, got = f"{path!r}: " if path else "", "" if self.apart else f" (got {one_line(repr(self.given))})"
            if path and not isinstance(self.given, dict) and (within := _known(kind, self.keys)):
                return f"{where}a section, whose settings are {', '.join(f'{path}.{name}' for name in within)}{got}"
            return f"{where}{self.said[:1].lower()}{self.said[1:]}{got}"
        known = sorted([*_known(kind, self.keys[:-1]), *also])
        near = difflib.get_close_matches(str(self.keys[-1]), known, n=1)
        whole = ".".join([*path.split(".")[:-1], *near])
        hint = f"did you mean {whole!r}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {path!r}; {hint}"


class Misfit(ValueError):
    """A tree that is not what it should be."""

    def __init__(self, wrong: Sequence[Wrong]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, each.keys))}: {each.said}" for each in wrong))
        self.wrong = tuple(wrong)


def typed(kind: type[T], tree: Any) -> T:
    """A tree as this frozen dataclass, held to its types and bounds; `Misfit` says all that is wrong with it.

    Where pydantic is not installed there is no TOML file either: what Python gave, or a run wrote itself, is taken at
    its word.
    """
    if truths := list(_truths_for_numbers(kind, tree, ())):
        raise Misfit(truths)
    try:
        from pydantic import ValidationError
    except ModuleNotFoundError:
        return _built(kind, tree, ())
    try:
        return _adapter(kind).validate_python(tree)  # type: ignore[no-any-return, arg-type]
    except ValidationError as error:
        raise Misfit([_wrong(dict(item)) for item in error.errors()]) from None


def _truths_for_numbers(kind: Any, tree: Any, keys: tuple[Any, ...]) -> Iterator[Wrong]:
    """Where a tree says true or false and a number is wanted: they would be taken for 1 and 0."""
    if not (isinstance(tree, dict) and isinstance(kind, type) and is_dataclass(kind)):
        return
    hints = get_type_hints(kind)
    for key, value in tree.items():
        if isinstance(value, bool) and hints.get(key) in (int, float):
            yield Wrong((*keys, key), "a number, not true or false", value)
        yield from _truths_for_numbers(hints.get(key), value, (*keys, key))


@cache
def _adapter(kind: Any) -> Any:
    """Made once a class; a dataclass that says nothing of it takes no further keys and finite numbers only."""
    from pydantic import TypeAdapter, with_config

    strict: Any = with_config(extra="forbid", allow_inf_nan=False)
    return TypeAdapter(strict(kind) if is_dataclass(kind) and not hasattr(kind, "__pydantic_config__") else kind)


def _wrong(item: dict[str, Any]) -> Wrong:
    unknown = item["type"] in ("extra_forbidden", "unexpected_keyword_argument")
    said = "Extra inputs are not permitted" if unknown else item["msg"].removeprefix("Value error, ")
    apart = item["type"] == "value_error" and isinstance(item["input"], dict)
    return Wrong(item["loc"], said, item["input"], unknown, item["type"] == "missing", apart)


def _built(kind: Any, tree: Any, keys: tuple[Any, ...]) -> Any:
    """Tables as dataclasses and lists as tuples, as the fields want them."""
    if isinstance(tree, dict) and isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        if unknown := [key for key in tree if key not in _known(kind, ())]:
            raise Misfit([Wrong((*keys, key), "Extra inputs are not permitted", tree[key], True) for key in unknown])
        try:
            return kind(**{key: _built(hints[key], value, (*keys, key)) for key, value in tree.items()})
        except TypeError as error:
            raise Misfit([Wrong(keys, str(error), tree)]) from None
    return tuple(tree) if get_origin(kind) is tuple and isinstance(tree, list) else tree


def _known(kind: Any, keys: Sequence[Any]) -> list[str]:
    """The keys of a dataclass, or of the one that lies at this place below it."""
    for key in keys:
        kind = get_type_hints(kind).get(str(key)) if is_dataclass(kind) else None
    return [each.name for each in fields(kind)] if is_dataclass(kind) else []


def as_tree(value: Any) -> Any:
    """Frozen dataclasses as JSON has them; whole numbers where the type says float are written as floats."""
    if is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        content = {each.name: (hints[each.name], getattr(value, each.name)) for each in fields(value)}
        return {name: _as_float(held) if hint is float else as_tree(held) for name, (hint, held) in content.items()}
    if hasattr(value, "model_dump"):  # a user's own options may be a pydantic model
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): as_tree(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [as_tree(below) for below in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _as_float(value: Any) -> Any:
    """A number; what is none stays as it is, for whoever reads the tree to refuse."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return value


def json_text(value: Any) -> str:
    """A tree as JSON for people to read."""
    from pydantic_core import to_json

    return to_json(as_tree(value), indent=2).decode()
