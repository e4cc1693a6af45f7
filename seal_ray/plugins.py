"""Things chosen by name in a config: the project's own by a short name, a user's as `package.module:Thing`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

from seal_ray.types import UserError


def find(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """The thing of that name. A known value written as `module:Thing` is imported only when it is asked for."""
    if name in known:
        thing = known[name]
        return _import(kind, thing) if isinstance(thing, str) else thing
    if ":" in name:
        return _import(kind, name)
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}, or your own as package.module:Thing"
    raise UserError(f"unknown {kind} {name!r}; {hint}")


def _import(kind: str, path: str) -> Any:
    module, _, thing = path.partition(":")
    try:
        return getattr(importlib.import_module(module), thing)
    except ImportError as error:
        raise UserError(f"{kind} {path!r} cannot be imported: {error}") from None
    except AttributeError:
        raise UserError(f"{kind} {path!r}: module {module} has no {thing!r}") from None
