"""Things chosen by name in a config: the project's own by a short name, a user's as `package.module:Thing`.

A user's modules are found where Python finds them, and after that beside the config that names them.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from seal_ray.reading import Misfit, typed
from seal_ray.types import UserError

_VARIABLE = "SEAL_RAY_MODULES"
_BESIDE: list[str] = [folder for folder in os.environ.get(_VARIABLE, "").split(os.pathsep) if folder]
"""Folders of the configs that were read, here or by the process that this one works for, whose modules may be named."""


def beside(folders: Iterable[str | Path]) -> None:
    """Look for a user's modules in these folders too. Nothing of theirs is imported before it is named."""
    _BESIDE.extend(folder for each in folders if (folder := str(Path(each).absolute())) not in _BESIDE)


def folders() -> tuple[str, ...]:
    """Further folders in which a user's modules are found, for a process that goes on with the same config."""
    return tuple(_BESIDE)


def environment() -> dict[str, str]:
    """What is to be in the environment of processes that work for this one, so that they find the same modules."""
    return {_VARIABLE: os.pathsep.join(_BESIDE)}


def find(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """The thing of that name. A known value written as `module:Thing` is imported only when it is needed."""
    if name in known:
        thing = known[name]
        return _import(kind, thing) if isinstance(thing, str) else thing
    if ":" in name:
        return _import(kind, name)
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}, or your own as package.module:Thing"
    raise UserError(f"unknown {kind} {name!r}; {hint}")


def find_with(kind: str, name: str, known: Mapping[str, Any], members: Iterable[str], described: str) -> Any:
    """The thing of that name, which must have these members; `described` is the file that says what they are."""
    thing = find(kind, name, known)
    if missing := [member for member in members if not hasattr(thing, member)]:
        raise UserError(f"{kind} {name!r}: has no {missing[0]!r}, see {described}")
    return thing


def options(setting: str, kind: Any, given: Mapping[str, Any]) -> Any:
    """An instance of the `Options` of such a thing, made of what a config gives for it."""
    try:
        return typed(kind, dict(given))
    except Misfit as error:
        wrong = error.wrong[0]
        where = ".".join([setting, *map(str, wrong.keys)])
        known = [each.name for each in fields(kind)] if is_dataclass(kind) else list(kind.model_fields)
        raise UserError(f"{where}: {wrong.said.lower()} (known: {', '.join(known)})") from None


def _import(kind: str, path: str) -> Any:
    module, _, thing = path.partition(":")
    if not module.startswith("seal_ray."):
        # Last, so that no file beside a config hides a package; and from now on, for what the module imports later.
        sys.path.extend(folder for folder in _BESIDE if folder not in sys.path)
    try:
        return getattr(importlib.import_module(module), thing)
    except ImportError as error:
        where = f"; looked for where Python does and in {_places()}" if error.name == module.partition(".")[0] else ""
        raise UserError(f"{kind} {path!r} cannot be imported: {error}{where}") from None
    except AttributeError:
        raise UserError(f"{kind} {path!r}: module {module} has no {thing!r}") from None


def _places() -> str:
    return ", ".join(_BESIDE) or "PYTHONPATH, which should name its folder"
