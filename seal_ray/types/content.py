"""What things are called: hashes of their content, equal on every machine and in every process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, cast

ADDED = {"added": True}
"""Marks a field that came later: at its default it is no part of a key, so that older records keep theirs."""


def content_key(*parts: Any) -> str:
    """A short hash that is equal for equal content, on every machine and in every process."""
    return hashlib.sha256(_CANONICAL.encode(parts).encode()).hexdigest()[:24]


def content_of(value: Any) -> dict[str, Any]:
    """A dataclass's fields; `asdict` would copy everything below them too, and every trial's key would pay for it."""
    content, kind = {}, cast(Hashable, type(value))
    for name, left_out in _layout(kind):
        part = getattr(value, name)
        if left_out is _NOTHING or part != left_out:
            content[name] = part
    return content


_NOTHING = object()


@cache
def _layout(kind: Any) -> tuple[tuple[str, Any], ...]:
    """The fields of a class of which keys are made, each with the value at which it is no part of them."""
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} has no content to make a key of")
    return tuple((each.name, each.default if each.metadata else _NOTHING) for each in fields(kind))


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=content_of)  # made once: keys are many


def derive_seed(*parts: Any) -> int:
    """A 63-bit seed that depends on the parts' content and nothing else."""
    return int(content_key("seed", *parts)[:15], 16)
