"""What is secret, by its name or by its looks, and texts without it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from seal_ray.config import Config, flat
from seal_ray.domains.registry import spelled_out
from seal_ray.reading import as_tree

_SECRET = {
    "key",
    "keys",
    "apikey",
    "apikeys",
    "token",
    "secret",
    "secrets",
    "password",
    "passwd",
    "passphrase",
    "bearer",
}
_SECRET |= {"credential", "credentials", "auth", "authorization", "cookie", "cookies"}
"""Words of a setting's name, `tokens` being what is counted."""
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
IN_URL = re.compile(r"(?<=://)[^/\s]*@|(?<=[?#])\S*")
"""What an address carries beside where it leads."""
_IN_TEXT = (
    (re.compile(r"(://)[^/\s]*@"), r"\1"),
    (re.compile(r"(\w://[^\s?#]*)[?#]\S*"), r"\1"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 …"),
    (re.compile(r"\b(?:sk-|hf_)[\w-]{16,}"), "…"),
)
_LEAST = 8
"""Characters of a variable's value; a shorter one would be found in any text."""


def settings_of(config: Config) -> dict[str, object]:
    """Every setting of a config by its name, the domain's among them."""
    return dict(flat(as_tree(spelled_out(config))))


def is_secret(name: str) -> bool:
    """Whether a setting's name says that it holds one; the name of a variable that does, `key_env`, may be told."""
    return not name.endswith("key_env") and not _SECRET.isdisjoint(_words(name))


def keys(settings: dict[str, object]) -> set[str]:
    """The keys that a config has servers asked with: what the variables hold that it names."""
    named = (str(value) for name, value in settings.items() if name.endswith("key_env"))
    return {os.environ.get(name, "") for name in named} - {""}


class Redactor:
    """Takes out of texts what a config or this process's environment holds in secret, and what looks like a key."""

    def __init__(self, config: Config) -> None:
        settings = settings_of(config)
        given = {str(value) for name, value in settings.items() if value and is_secret(name)}
        found = keys(settings) | given | set(_of_environment())
        longest_first = sorted(map(re.escape, found), key=len, reverse=True)
        self._known = re.compile("|".join(longest_first)) if found else None

    def __call__(self, text: str) -> str:
        for pattern, instead in _IN_TEXT:
            text = pattern.sub(instead, text)
        return self._known.sub("…", text) if self._known else text


def _of_environment() -> Iterator[str]:
    """Such as HF_TOKEN's value; of RAY_AUTH_MODE or SSH_AUTH_SOCK the last word says that it holds none."""
    for name, value in os.environ.items():
        if len(value) >= _LEAST and not _SECRET.isdisjoint(_words(name)[-1:]):
            yield value


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]
