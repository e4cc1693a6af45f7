"""Several adapters of one base, of a run or in folders, made one that adds what all of them do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from seal_ray.adapters.lora import CONFIG_FILE, Adapter
from seal_ray.adapters.merge import total
from seal_ray.config import Config
from seal_ray.ops.export import named_base, write_adapter
from seal_ray.policy.catalogue import Held, find
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import recorded_config
from seal_ray.types import UserError


def merge_adapters(directory: str, held: Sequence[Held], names: Sequence[str], out: str) -> int:
    """Write the exact sum of these adapters as a PEFT folder; returns its rank. A name may be that of a PEFT folder."""
    config, store = recorded_config(directory), Store(directory)
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise UserError(f"{twice}: is named twice, and would count twice; name each adapter once")
    parts: dict[str, Adapter] = {}
    for name in names:
        folder = Path(name)
        there = (folder / CONFIG_FILE).is_file()
        parts[name] = _of_folder(folder, config) if there else find(directory, held, name).load(store)
    _must_fit(parts)
    whole, _ = total(parts.values())
    if whole is None:
        raise UserError("nothing to merge: name adapters, as `seal-ray adapters list` does")
    write_adapter(config, whole, out)
    return whole.rank


def _of_folder(folder: Path, config: Config) -> Adapter:
    """An adapter from elsewhere; refused where it says that it belongs to another base."""
    adapter = Adapter.load(folder)
    theirs = json.loads((folder / CONFIG_FILE).read_text()).get("base_model_name_or_path")
    if theirs and theirs not in (config.model.path, named_base(config)):
        raise UserError(f"{folder}: is an adapter of {theirs}, and not of {config.model.path}; merge those of one base")
    return adapter


def _must_fit(parts: dict[str, Adapter]) -> None:
    """Refuse adapters of models of unlike shapes, whatever their bases are called."""
    met: dict[str, tuple[tuple[int, int], str]] = {}
    for name, adapter in parts.items():
        for module in adapter.modules:
            down, up = adapter.pair(module)
            shape = down.shape[1], up.shape[0]
            first, other = met.setdefault(module, (shape, name))
            if first != shape:
                raise UserError(f"{name}: {module} is {shape} there and {first} in {other}; merge those of one base")
