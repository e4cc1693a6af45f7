"""Things chosen by name in a config: the project's own by a short name, a user's as `package.module:Thing`.

A user's modules are found where Python finds them, and after that beside the config that names them. What they hold is
part of what a run is, and what goes wrong in them is told with its place.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, TypeVar

from seal_ray.plain import one_line
from seal_ray.reading import Misfit, typed
from seal_ray.types import UserError, content_key

T = TypeVar("T")

_VARIABLE = "SEAL_RAY_MODULES"
_BESIDE: list[str] = [folder for folder in os.environ.get(_VARIABLE, "").split(os.pathsep) if folder]
"""Folders of the configs that were read, here or by the process that this one works for, whose modules may be named."""
_READ: dict[Path, bytes] = {}
"""The files of a user's modules that this process runs, as they were when it imported them."""
_OURS = __name__.partition(".")[0]
_NAME = re.compile(r"[\w.]+:\w+")
_INSTALLED = ("site-packages", "dist-packages")


def beside(folders: Iterable[str | Path]) -> None:
    """Look for a user's modules in these folders too, and there first. None is imported before it is named."""
    new = list(dict.fromkeys(str(Path(each).absolute()) for each in folders))
    _BESIDE[:] = [*new, *(folder for folder in _BESIDE if folder not in new)]


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
    known_or = f"known: {', '.join(known)}, or " if known else ""
    hint = f"did you mean {near[0]!r}?" if near else f"{known_or}your own as package.module:Thing"
    raise UserError(f"unknown {kind} {name!r}; {hint}")


def find_with(
    kind: str, name: str, known: Mapping[str, Any], members: Iterable[str], described: str, awaited: str = ""
) -> Any:
    """The thing of that name, which must have these members; `described` is the file that says what they are."""
    thing = find(kind, name, known)
    must_have(kind, name, thing, members, described, awaited)
    return thing


def must_have(kind: str, name: str, thing: Any, members: Iterable[str], described: str, awaited: str = "") -> None:
    """Refuse a thing without one of these members, or whose method of the name `awaited` is no `async def`."""
    if missing := [member for member in members if not hasattr(thing, member)]:
        raise UserError(f"{kind} {name!r}: has no {missing[0]!r}, see {described}")
    if awaited and not inspect.iscoroutinefunction(getattr(thing, awaited, None)):
        raise UserError(f"{kind} {name!r}: has no `async def {awaited}`, see {described}")


def must_take(wrong: str, thing: Any, *parts: Any, **more: Any) -> None:
    """Refuse what cannot be called with these, with `UserError` that begins with what is wrong then."""
    try:
        inspect.signature(thing).bind(*parts, **more)
    except TypeError as error:
        raise UserError(f"{wrong}: {error}") from None


def made(wrong: str, thing: Any, *parts: Any, **more: Any) -> Any:
    """What a thing makes of these; where it does not take them, `UserError` that begins with what is wrong then."""
    must_take(wrong, thing, *parts, **more)
    return thing(*parts, **more)


def given(by: str, found: object, kind: type[T], wanted: str = "") -> T:
    """What a part gave, unless it is none of this kind; `wanted` says it otherwise."""
    if isinstance(found, kind):
        return found
    raise UserError(f"{by} gave {one_line(repr(found), 80)}; {wanted or f'a {kind.__name__} is wanted'}")


def options(setting: str, kind: Any, given: Mapping[str, Any]) -> Any:
    """An instance of the `Options` of such a thing, made of what a config gives for it."""
    if not (is_dataclass(kind) or hasattr(kind, "model_fields")):
        raise UserError(f"{setting}: {kind.__qualname__} is no frozen dataclass, which says what they may be")
    try:
        return typed(kind, dict(given))
    except Misfit as error:
        wrong = error.wrong[0]
        where = ".".join([setting, *map(str, wrong.keys)])
        known = [each.name for each in fields(kind)] if is_dataclass(kind) else list(kind.model_fields)
        raise UserError(f"{where}: {wrong.said.lower()} (known: {', '.join(known)})") from None


def code(kind: str, path: str) -> str:
    """What the code of a thing of one's own is known by: it changes with any of its files. Empty for the project's own.

    `UserError` where a file has changed since this process imported it, and would be taken for what runs.
    """
    held = {}
    for name, file in _files(path).items():
        if file.read_bytes() != _READ[file]:
            raise UserError(
                f"{kind} {path!r}: {file} has changed since this process imported it; begin another (in a notebook, "
                "restart the kernel)"
            )
        held[name] = _READ[file].decode(errors="replace")
    return content_key("code", held) if held else ""


@contextmanager
def blaming() -> Iterator[None]:
    """Tell what is raised in a user's module in one line, with its place."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if (told := blamed(error)) is error:
            raise
        raise told from error


def blamed(error: BaseException) -> BaseException:
    """An error, or where it was raised in a user's module `UserError` with its place."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) in _READ]
    if isinstance(error, UserError) or not places:
        return error
    at = f"{places[-1].filename}, line {places[-1].lineno}, in {places[-1].name}"
    return UserError(f"{at}: {type(error).__name__}: {one_line(str(error))}; mend it (--debug shows who called it)")


def _import(kind: str, path: str) -> Any:
    module, _, thing = path.partition(":")
    if module.partition(".")[0] != _OURS:
        # Last, so that no file beside a config hides a package; and from now on, for what the module imports later.
        sys.path.extend(folder for folder in _BESIDE if folder not in sys.path)
    if not all(module.split(".")) or "/" in module or not thing:
        raise UserError(f"{kind} {path!r}: a module and what it has, as package.module:Thing, is wanted")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        where = f"; looked for where Python does and in {_places()}" if error.name == module.partition(".")[0] else ""
        raise UserError(f"{kind} {path!r} cannot be imported: {error}{where}") from error
    except (Exception, SystemExit) as error:  # whatever stands in a user's file
        frame = traceback.extract_tb(error.__traceback__)[-1]
        at = "" if isinstance(error, SyntaxError) else f" ({frame.filename}, line {frame.lineno})"
        said = f"{type(error).__name__}: {one_line(str(error))}{at}"
        raise UserError(f"{kind} {path!r} cannot be imported: {said}") from error
    if module.partition(".")[0] != _OURS:
        there = next((file for folder in _BESIDE if (file := _file(Path(folder), module))), None)
        taken = _file_of(found)
        if there and not (taken and taken.samefile(there)):
            raise _hidden(f"{kind} {path!r}", there, taken)
        if taken not in _READ:
            _files(path)
    if not hasattr(found, thing):
        raise UserError(f"{kind} {path!r}: module {module} ({_file_of(found) or 'of Python itself'}) has no {thing!r}")
    return getattr(found, thing)


def _hidden(what: str, there: Path, taken: Path | None) -> UserError:
    return UserError(
        f"{what}: {there} cannot be had, for this process has {taken or 'a module of Python itself'} by that name; "
        "give the file another name, or begin another process for it"
    )


def _files(path: str) -> dict[str, Path]:
    """The files that a thing of one's own is written in, by their modules: its own, and those that lie where it does
    and are imported there, or named as `module:Thing`. From now on they count as they are."""
    module, _, thing = path.partition(":")
    own = _file_of(sys.modules.get(module))
    if not thing or not own or module.partition(".")[0] == _OURS:
        return {}
    root = own.parents[module.count(".") + (own.stem == "__init__")]
    found, left = dict[str, Path](), [module]
    while left:
        name = left.pop()
        top = name.partition(".")[0]
        apart = top != module.partition(".")[0] if root.name in _INSTALLED else top == _OURS
        if name in found or apart or not (file := _file(root, name)):
            continue
        if (taken := _file_of(sys.modules.get(name))) and taken != file:
            if taken in (_file(Path(folder), name) for folder in _BESIDE):
                raise _hidden(f"{path!r} imports {name}", file, taken)
            continue  # a module of Python's, or of a package
        found[name], above = file, name.rpartition(".")[0]
        text = _READ.setdefault(file, file.read_bytes())
        left += [above, *_named_in(text, name if file.stem == "__init__" else above)]
    return found


def _named_in(text: bytes, package: str) -> Iterator[str]:
    """The modules that a file of this package may import or name."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import():
                yield from (each.name for each in node.names)
            case ast.ImportFrom():
                module = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
                yield from (str(module), *(f"{module}.{each.name}" for each in node.names))
            case ast.Constant(value=str() as said) if _NAME.fullmatch(said):
                yield said.partition(":")[0]


def _file(root: Path, module: str) -> Path | None:
    """Where a module lies below a folder, if it does."""
    place = root.joinpath(*module.split("."))
    there = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((file for file in there if module and file.is_file()), None)


def _file_of(module: Any) -> Path | None:
    """The file that a module was read from; None for one that is built in."""
    return Path(file) if (file := getattr(module, "__file__", None)) else None


def _places() -> str:
    return ", ".join(_BESIDE) or "PYTHONPATH, which should name its folder"
