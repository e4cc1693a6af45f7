"""Adapters in a run's directory, each a standard PEFT folder that is called by the hash of its content."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import load

from seal_ray.adapters.lora import CONFIG_FILE, PREFIX, WEIGHTS_FILE, Adapter
from seal_ray.record.manifest import damage, missing
from seal_ray.record.segments import checksum
from seal_ray.record.storage import Store
from seal_ray.types import AdapterRef, UserError

_FILES = (WEIGHTS_FILE, CONFIG_FILE)


def folder_of(ref: AdapterRef) -> str:
    return f"adapters/{ref.key}"


def put(store: Store, adapter: Adapter) -> AdapterRef:
    """Keep an adapter; what it is called by is the proof that it was kept whole."""
    adapter.check("adapter")
    for name, data in adapter.files().items():
        store.write(f"{folder_of(adapter.ref)}/{name}", data)
    return adapter.ref


def get(store: Store, ref: AdapterRef) -> Adapter:
    """An adapter as it was kept; `Damaged`, naming the command that sets it aside, when it is not."""
    where = folder_of(ref)
    adapter = _load(store, where)
    if adapter.ref != ref:
        raise damage(store, where, "its content is not what it is called by")
    return adapter


@dataclass(frozen=True)
class Shape:
    """The rank, scale and modules of an adapter, which can be told without loading its numbers."""

    rank: int
    alpha: float
    modules: tuple[str, ...]
    """Paths of the adapted modules in the base model."""
    bytes: int


def shape_of(store: Store, where: str) -> Shape:
    """The shape of an adapter in this folder; of a local one no more than the beginning is read."""
    weights = f"{where}/{WEIGHTS_FILE}"
    try:
        config = json.loads(store.read(f"{where}/{CONFIG_FILE}"))
        if store.local and Path(store.path(weights)).is_file():
            with safe_open(store.path(weights), "numpy") as file:
                names = list(file.keys())
        else:
            names = list(load(store.read(weights)))
        suffix = ".lora_A.weight"
        modules = tuple(name.removeprefix(PREFIX).removesuffix(suffix) for name in names if name.endswith(suffix))
        return Shape(config["r"], config["lora_alpha"], modules, sum(store.walk(where).values()))
    except FileNotFoundError:
        raise missing(store, where, "a file") from None
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise damage(store, where, str(error)) from None


def get_numbered(store: Store, version: int) -> Adapter:
    """A policy as 0.1.0 kept it, by its version; with checksums beside it, where that wrote any."""
    where = numbered_folder(version)
    known = f"{where}/checksums.json"
    try:
        wanted = json.loads(store.read(known)) if store.exists(known) else {}
        wrong = [name for name, sum_ in wanted.items() if checksum(store.read(f"{where}/{name}")) != sum_]
    except FileNotFoundError:
        raise missing(store, where, "a file") from None
    except (ValueError, AttributeError) as error:
        raise damage(store, known, str(error)) from None
    if wrong:
        raise damage(store, f"{where}/{wrong[0]}", "its checksum differs")
    return _load(store, where)


def numbered_folder(version: int) -> str:
    return f"policies/{version:04d}"


def _load(store: Store, where: str) -> Adapter:
    if store.local and all(store.exists(f"{where}/{name}") for name in _FILES):
        return _from(store, where, store.path(where))
    try:
        files = {name: store.read(f"{where}/{name}") for name in _FILES}
    except FileNotFoundError:
        raise missing(store, where, "a file") from None
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        return _from(store, where, folder)


def _from(store: Store, where: str, folder: str) -> Adapter:
    try:
        return Adapter.load(folder)
    except UserError as error:  # it speaks of a folder, and of what whoever named one might do
        raise damage(store, where, str(error).removeprefix(f"{folder}: ").rpartition("; ")[0]) from None
    except (ValueError, KeyError, AttributeError) as error:
        raise damage(store, where, str(error)) from None
