"""The self-edit of this domain: a decision, written as a JSON object.

    {"basic": true, "size": false, "chain": false, "repeat": true, "loss": "all", "learning_rate": 1e-4, "epochs": 2}

Four switches for augmentations, what carries loss, learning rate and epochs; a user may let the policy decide the
adapter's rank, alpha and layers as well. `schema` is for engines that can enforce one; `parse` reads what came back.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from seal_ray.plain import first_decoded, one_line
from seal_ray.types import DataError, LoraSpec

SWITCHES = ("basic", "size", "chain", "repeat")
LAYERS: dict[str, tuple[str, ...]] = {
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "all": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
LEARNING_RATE = (1e-6, 1e-2)
EPOCHS = (1, 10)
RANK = (1, 256)
ALPHA = (1, 512)

Extra = Literal["rank", "alpha", "layers"]


@dataclass(frozen=True)
class Edit:
    """A parsed self-edit. None leaves a choice to the run's configuration."""

    basic: bool
    size: bool
    chain: bool
    repeat: bool
    loss: Literal["all", "output"]
    """Whether demonstrations are learnt too, or only the asked output."""
    learning_rate: float
    epochs: int
    rank: int | None = None
    alpha: float | None = None
    layers: str | None = None

    def text(self) -> str:
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})

    def adapt(self, lora: LoraSpec) -> LoraSpec:
        """The run's adapter with what this edit decides about it."""
        return replace(
            lora,
            rank=self.rank or lora.rank,
            alpha=self.alpha or lora.alpha,
            targets=LAYERS[self.layers] if self.layers else lora.targets,
        )


FIXED = Edit(basic=True, size=False, chain=False, repeat=False, loss="output", learning_rate=1e-4, epochs=2)
"""The hand-set configuration of the baseline."""


def schema(extras: Sequence[Extra] = ()) -> dict[str, Any]:
    """JSON schema of a self-edit, with the extra decisions that are switched on."""
    properties: dict[str, Any] = {name: {"type": "boolean"} for name in SWITCHES}
    properties["loss"] = {"enum": ["all", "output"]}
    properties["learning_rate"] = _range("number", LEARNING_RATE)
    properties["epochs"] = _range("integer", EPOCHS)
    richer = {
        "rank": _range("integer", RANK),
        "alpha": _range("number", ALPHA),
        "layers": {"enum": list(LAYERS)},
    }
    properties |= {name: richer[name] for name in extras}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def parse(text: str, extras: Sequence[Extra] = ()) -> Edit:
    """The first JSON object in a completion as an edit; `DataError` says what is wrong with it."""
    start = text.find("{")
    if start < 0:
        raise DataError("self-edit: no JSON object in it")
    try:
        found, _ = first_decoded(text, start)
    except ValueError as error:
        raise DataError(f"self-edit: not valid JSON: {error}") from None
    wanted = schema(extras)["properties"]
    for name in found:
        if name not in wanted:
            raise DataError(f"self-edit: unknown key {_cut(name)}; known: {', '.join(wanted)}")
    for name, rule in wanted.items():
        if name not in found:
            raise DataError(f"self-edit: {name!r} is missing")
        _check(name, found[name], rule)
    return Edit(**found)


def _check(name: str, value: Any, rule: dict[str, Any]) -> None:
    if "enum" in rule:
        if value not in rule["enum"]:
            raise DataError(f"self-edit: {name!r} is {_cut(value)}, not one of {', '.join(rule['enum'])}")
        return
    kinds: dict[str, tuple[type, ...]] = {"boolean": (bool,), "integer": (int,), "number": (int, float)}
    if type(value) not in kinds[rule["type"]]:
        raise DataError(f"self-edit: {name!r} is {_cut(value)}, not a {rule['type']}")
    if "minimum" in rule and not rule["minimum"] <= value <= rule["maximum"]:
        raise DataError(f"self-edit: {name!r} is {_cut(value)}, out of range {rule['minimum']} to {rule['maximum']}")


def _cut(value: Any) -> str:
    return one_line(repr(value), 60)


def _range(kind: str, bounds: tuple[float, float]) -> dict[str, Any]:
    return {"type": kind, "minimum": bounds[0], "maximum": bounds[1]}


def draw(rng: random.Random) -> Edit:
    """A configuration at random, from the oracle's grid."""
    return rng.choice(list(grid()))


def grid() -> Iterator[Edit]:
    """The configurations the oracle tries: all switches, both losses, four learning rates, three lengths."""
    for switches, loss, lr, epochs in itertools.product(
        itertools.product((False, True), repeat=len(SWITCHES)), ("all", "output"), (1e-5, 5e-5, 1e-4, 1e-3), (1, 2, 3)
    ):
        yield Edit(*switches, loss, lr, epochs)  # type: ignore[arg-type, call-arg]
