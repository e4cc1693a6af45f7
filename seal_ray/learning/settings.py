"""What `learn` runs with where nobody says otherwise, in one place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seal_ray.config import IN_PROCESS, Config, parse
from seal_ray.domains.registry import STUDIED
from seal_ray.model.architecture import shape_in
from seal_ray.model.template import Files
from seal_ray.reading import overriding, put
from seal_ray.types import ALL_LINEAR, UserError

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
DOCUMENTS = "documents.jsonl"
PLACE = "learnt"
"""The folder that holds what was learnt, where no directory is named."""
_ADAPTER = {"rank": 16, "alpha": 32.0, "targets": [ALL_LINEAR]}
_OPTIM = {"lr": 2e-3, "epochs": 1, "batch_size": 4}
"""One pass: what is taught several times is taught in other words each time (`domain.options.times`)."""
_RATES = {135e6: 2e-3, 494e6: 5e-4}
"""Learning rates of the one adapter, by the parameters of the model that each was measured with."""
TEXTS, _EPOCHS = 5, 10
"""Of a method: texts of each passage where nobody says how many, and passes over them, as the paper's trials have."""
_GIVEN = (
    *(["run", "dir"], ["model", "path"], ["domain", "name"], ["domain", "options", "train"]),
    *(["evaluation", "methods"], ["evaluation", "texts"]),
)


def config_for(
    directory: str, model: str, overrides: Sequence[str] = (), method: str = "", texts: int = TEXTS
) -> Config:
    """The config of a run that learns documents into this directory; by this method, where one is named."""
    tree = _defaults(Path(directory).absolute(), _whole(model))
    if method:
        tree["evaluation"] |= {"methods": [method], "texts": [texts]}
        for section in ("trial", "update"):
            tree[section]["optim"]["epochs"] = _EPOCHS
    for keys, value in overriding(overrides):
        if keys in _GIVEN:
            raise UserError(f"--{'.'.join(keys)}: give --into, --model, --method, --texts and the documents instead")
        put(tree, keys, value)
    return parse(tree, "the command line")


def at_its_rate(config: Config, overrides: Sequence[str] = ()) -> Config:
    """The config with the learning rate that fits the size of its model, unless the command line has one.

    What a small model needs makes a larger one forget everything else.
    """
    if any(keys in (["update", "optim"], ["update", "optim", "lr"]) for keys, _ in overriding(overrides)):
        return config
    said, update = Files(config.model.path, config.model.revision).tree("config.json"), config.update
    return replace(config, update=replace(update, optim=replace(update.optim, lr=_rate(said))))


def _rate(said: dict[str, Any]) -> float:
    """That of the measured model that is nearest in size; the least, where a model's config does not tell its size."""
    try:
        parameters = shape_in(said, "config.json").parameters
    except UserError:
        return min(_RATES.values())
    return _RATES[min(_RATES, key=lambda measured: abs(math.log(parameters / measured)))]


def _defaults(directory: Path, model: str) -> dict[str, Any]:
    return {
        "run": {"name": directory.name, "dir": str(directory), "rounds": 0},
        "model": {"path": model},
        "domain": {
            "name": STUDIED,
            "train": 0,
            "test": 0,
            "options": {"train": str(directory / DOCUMENTS), "style": "self-qa"},
        },
        "sampling": {"per_task": 1, "temperature": 0.7, "max_tokens": 160, "engine": "transformers"},
        "trial": {
            "seeds": 1,
            "answer_tokens": 32,
            "lora": dict(_ADAPTER),
            "optim": dict(_OPTIM),
        },
        "update": {"lora": dict(_ADAPTER), "optim": dict(_OPTIM)},
        "evaluation": {"baselines": ["base", "in-context"]},
        "workers": {"address": IN_PROCESS, "slots": 16},
    }


def _whole(model: str) -> str:
    """A folder or file of this machine by its whole path; a name of the hub as it is."""
    path = Path(model).expanduser()
    return str(path.absolute()) if path.exists() else model
