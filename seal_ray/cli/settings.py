"""Every setting of a run with its type, default and sentence, read from the config tree itself.

seal-ray run --help                                       # the same list on the terminal
python -m seal_ray.cli.settings > docs/configuration.md       # the page of the documentation
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from seal_ray.config import Config


@dataclass(frozen=True)
class Setting:
    key: str
    type: str
    default: str
    """The default as TOML writes it; empty where there is none and the key must be given."""
    sentence: str


@dataclass(frozen=True)
class Group:
    """One section of a TOML file."""

    name: str
    sentence: str
    settings: tuple[Setting, ...]


def groups() -> list[Group]:
    """The config tree, section by section, in its own order."""
    return list(_groups(Config, None, ""))


def _groups(section: Any, default: Any, prefix: str) -> Iterator[Group]:
    """A section's own settings, then those of the sections below it."""
    sentences, settings, below = _sentences(section), [], []
    for name, kind, value in _fields(section, default):
        key = f"{prefix}.{name}" if prefix else name
        if dataclasses.is_dataclass(kind):
            below.append((kind, value, key))
        else:
            settings.append(Setting(key, _type_name(kind), _toml(value), sentences.get(name, "")))
    if settings:
        yield Group(prefix, _own_sentence(section), tuple(settings))
    for kind, value, key in below:
        yield from _groups(kind, None if value is dataclasses.MISSING else value, key)


def _fields(section: Any, default: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and default of each field; `default` is what the section above sets this one to."""
    hints = get_type_hints(section)
    for each in dataclasses.fields(section):
        made = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        yield each.name, hints[each.name], made if default is None else getattr(default, each.name)


def _own_sentence(section: type) -> str:
    """A class's docstring, and not the signature that stands there where it has none."""
    own = section.__dict__.get("__doc__") or ""
    return "" if own.startswith(f"{section.__name__}(") else " ".join(own.split())


def _sentences(section: type) -> dict[str, str]:
    """What stands below each field of a class, as its docstring."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def _type_name(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(str(each) for each in arguments)
    if origin is tuple:
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return "table"
    if type(None) in arguments or origin is Union:
        return " | ".join(_type_name(each) for each in arguments if each is not type(None))
    return {str: "text", int: "whole number", float: "number", bool: "true | false"}.get(kind, str(kind))


def _toml(value: Any) -> str:
    if value is dataclasses.MISSING:
        return ""
    return "none" if value is None else json.dumps(list(value) if isinstance(value, tuple) else value)


def as_text() -> str:
    """The settings for the terminal: each with its default on one line, what it does below."""
    lines = []
    for group in groups():
        for each in group.settings:
            lines.append(f"  --{each.key}  ({each.type}{f'; {each.default}' if each.default else ''})")
            lines += textwrap.wrap(each.sentence, 108, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join(lines)


def as_markdown() -> str:
    """The settings for the documentation: a table for each section."""
    parts = [
        "# Configuration",
        "A run is one TOML file; every setting is also `--section.key value` on the command line. This page is made "
        "from the config tree by `python -m seal_ray.cli.settings`.",
    ]
    for group in groups():
        rows = [f"| `{s.key}` | {_cell(s.type)} | {_code(s.default)} | {_cell(s.sentence)} |" for s in group.settings]
        title = [f"## [{group.name}]", *([group.sentence] if group.sentence else [])]
        parts += [*title, "\n".join(["| setting | type | default | |", "|---|---|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else "must be given"


if __name__ == "__main__":
    print(as_markdown(), end="")
