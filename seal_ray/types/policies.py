"""Adapters by their content, and the policies that point to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class AdapterRef(NamedTuple):
    """An adapter by the hash of its content; the empty key is the untouched base, which has none."""

    key: str = ""


BASE = AdapterRef()


@dataclass(frozen=True)
class Policy:
    """A version of what a run has learnt: a pointer to an adapter, and what the adapter was made from."""

    name: str
    """The hash of all that it was made from; the base's for the policy that a run begins with."""
    version: int = 0
    adapter: AdapterRef = BASE
