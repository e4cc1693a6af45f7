"""Adapters that were trained elsewhere: PEFT folders, which must say that they belong to a run's base."""

from __future__ import annotations

import json
from pathlib import Path

from seal_ray.adapters.lora import CONFIG_FILE, Adapter
from seal_ray.config import Config
from seal_ray.model.architecture import matrices
from seal_ray.model.locate import SHIPPED, resolve
from seal_ray.types import UserError


def named_base(config: Config) -> str:
    """The base as a PEFT folder names it; it need not be on this machine."""
    base = config.model.path
    return resolve(base) if base in SHIPPED else base


def adapter_from(folder: Path, config: Config) -> Adapter:
    """An adapter from elsewhere; refused where it does not say that it belongs to this run's base."""
    adapter = Adapter.load(folder)
    theirs = json.loads((folder / CONFIG_FILE).read_text()).get("base_model_name_or_path")
    if not theirs:
        raise UserError(
            f"{folder}: does not say which base it is of; write base_model_name_or_path into its {CONFIG_FILE}, where "
            f"that is {config.model.path}"
        )
    if theirs not in (config.model.path, named_base(config)):
        raise UserError(f"{folder}: is an adapter of {theirs}, and not of {config.model.path}; give one of that base")
    return adapter


def fitting_adapter_from(folder: Path, config: Config) -> Adapter:
    """The same, refused too where its matrices are not as wide as the base's."""
    adapter, (known, _) = adapter_from(folder, config), matrices(config.model.path)
    for module in adapter.modules:
        down, up = adapter.pair(module)
        shape = down.shape[1], up.shape[0]
        if known.get(module, shape) != shape:  # of what files hold under another name the workers will say so
            raise UserError(
                f"{folder}: {module} is {shape} there and {known[module]} in {config.model.path}; give one of that base"
            )
    return adapter
