"""Settings that fit a model by its size and kind: `presets.toml`, under what a config says itself.

What a file or a command line says wins, because `load` notes it down; of a config that was made in Python, what is not
at its default.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from seal_ray.config import NO_PRESET, Config, Sampling, TrialSection, parse
from seal_ray.domains.registry import option_kinds
from seal_ray.model.architecture import NoShape, model_shape
from seal_ray.model.template import Files, is_instruct
from seal_ray.reading import as_tree, put
from seal_ray.sources import at
from seal_ray.types import UserError

TABLE = Path(__file__).with_name("presets.toml")
AUTO = "auto"
_OTHER_KIND = math.log(3)
"""A preset of the other kind counts as if its model were three times as far from this one in size."""
_TOO_FAR = math.log(20)
"""A model so many times larger or smaller than any that was measured gets no preset by itself."""


@dataclass(frozen=True)
class Preset:
    name: str
    parameters: float
    """Of the model it was measured with."""
    instruct: bool
    source: str
    settings: Mapping[str, Any]
    """By the whole name of each."""

    def distance(self, parameters: float, instruct: bool) -> float:
        return abs(math.log(parameters / self.parameters)) + _OTHER_KIND * (instruct != self.instruct)


@cache
def presets() -> dict[str, Preset]:
    """The table, by name."""
    return {name: Preset(name, **held) for name, held in tomllib.loads(TABLE.read_text(encoding="utf-8")).items()}


def with_preset(config: Config, ask_hub: bool) -> tuple[Config, list[str]]:
    """The config with the settings of its preset where it says nothing itself, and with no preset any more."""
    asked = config.trial.preset
    if asked == NO_PRESET:
        return config, []
    preset = _nearest(config, ask_hub) if asked == AUTO else _named(asked)
    tree = as_tree(config)
    taken = {key: value for key, value in preset.settings.items() if _free(config, tree, key)}
    for key, value in taken.items():
        put(tree, key.split("."), value)
    tree["trial"] |= {"preset": NO_PRESET, "preset_leaves": []}
    shown = ", ".join(f"{key} {value}" for key, value in taken.items()) or "nothing that is not said already"
    return parse(tree, f"trial.preset {preset.name!r}"), [f"trial.preset {preset.name!r} ({preset.source}): {shown}"]


def _named(name: str) -> Preset:
    if name in presets():
        return presets()[name]
    near = difflib.get_close_matches(name, presets(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {AUTO}, {', '.join(presets())}"
    raise UserError(f"unknown trial.preset {name!r}; {hint}")


def _nearest(config: Config, ask_hub: bool) -> Preset:
    """The preset of the model that is most like this one."""
    path, revision = config.model.path, config.model.revision
    instruct = is_instruct(path, revision, ask_hub)
    Files(path, revision, ask_hub).tree("config.json")  # a hub's comes into this machine's cache
    hint = f"name one ({', '.join(presets())}), or leave the preset out"
    try:
        parameters = model_shape(path).parameters
    except NoShape as error:
        raise UserError(f"trial.preset {AUTO!r}: none was measured for such a model ({error}); {hint}") from None
    best = min(presets().values(), key=lambda preset: preset.distance(parameters, instruct))
    if abs(math.log(parameters / best.parameters)) > _TOO_FAR:
        raise UserError(
            f"trial.preset {AUTO!r}: none was measured for a model of {parameters / 1e6:,.1f} million parameters; "
            f"{hint}"
        )
    return best


def _free(config: Config, tree: dict[str, Any], key: str) -> bool:
    """Whether the config leaves a setting to the preset: its own or its domain's, which nobody said."""
    section, *rest = key.split(".")
    if section == "domain":
        kind = option_kinds(config.domain.name, "domain").get("domain")
        return rest[-1] in getattr(kind, "__dataclass_fields__", {}) and rest[-1] not in config.domain.options
    default = as_tree({"trial": TrialSection(), "sampling": Sampling()}[section])
    return key not in config.trial.preset_leaves and at(tree, [section, *rest]) == at(default, rest)
