"""The settings that are tried: those of the config, the nearest preset's, the paper's, and others drawn around them."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seal_ray.config import Config, TrialSection
from seal_ray.model.architecture import check_targets
from seal_ray.reading import Misfit, as_tree, typed
from seal_ray.settling.presets import with_preset
from seal_ray.types import ALL_LINEAR, LoraSpec, OptimSpec, Recipe, UserError

Axes = Mapping[str, Sequence[Any]]
"""By the name of a setting, the values that are tried; `alpha` in multiples of the rank."""

_PAPER_TARGETS = ("q_proj", "v_proj")
_EVERY = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
"""All that `all-linear` stands for in most models: beside these it is not tried once more."""
_DRAWS = 1000
"""Of which a space of a few dozen settings is never short of one."""
_READ: dict[str, Callable[[str], Any]] = {
    "rank": int,
    "alpha": float,
    "targets": lambda text: tuple(text.split("+")),
    "lr": float,
    "epochs": int,
    "batch_size": int,
}
"""How a value on the command line is read."""


@dataclass(frozen=True)
class Settings:
    """How a trial trains."""

    lora: LoraSpec
    optim: OptimSpec

    @classmethod
    def of(cls, config: Config) -> Settings:
        """Those that the config says."""
        return cls(config.trial.lora, config.trial.optim)

    def train(self, recipe: Recipe) -> Recipe:
        """The same texts, trained so."""
        return replace(recipe, lora=self.lora, optim=self.optim)

    def under(self, config: Config) -> Config:
        """The config with these settings."""
        return replace(config, trial=replace(config.trial, lora=self.lora, optim=self.optim))

    def values(self) -> dict[str, str]:
        """Each setting that is tuned, in short."""
        targets = "+".join(name.removesuffix("_proj") for name in self.lora.targets)
        numbers = {"rank": self.lora.rank, "alpha": self.lora.alpha}
        numbers |= {"lr": self.optim.lr, "epochs": self.optim.epochs, "batch": self.optim.batch_size}
        shown = {name: f"{number:g}" for name, number in numbers.items()}
        return {"rank": shown.pop("rank"), "alpha": shown.pop("alpha"), "targets": targets, **shown}

    @property
    def name(self) -> str:
        """What its trials are called on record."""
        return ", ".join(f"{name} {value}" for name, value in self.values().items())

    def turned(self, choice: Mapping[str, Any]) -> Settings:
        """These, with what is chosen in their place; an alpha stays the same multiple of the rank. `Misfit` if bad."""
        rank, scale = choice.get("rank", self.lora.rank), choice.get("alpha", self.lora.scale)
        lora = {"rank": rank, "alpha": scale * rank, "targets": choice.get("targets", self.lora.targets)}
        steps = {name: choice[name] for name in ("lr", "epochs", "batch_size") if name in choice}
        return Settings(typed(LoraSpec, as_tree(lora)), typed(OptimSpec, as_tree(self.optim) | steps))


def parse_axes(words: str, start: Settings, config: Config) -> Axes:
    """`rank lr=5e-4,1e-3`: what is to be tried, each with values of one's own or the usual ones (an empty list)."""
    found: dict[str, list[Any]] = {}
    for word in words.split():
        name, equals, values = word.partition("=")
        if name not in _READ:
            near = difflib.get_close_matches(name, _READ, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_READ)}"
            raise UserError(f"--axes: nothing is called {name!r}; {hint}")
        if name in found:
            raise UserError(f"--axes names {name!r} twice; give all its values at once, as in {name}=A,B")
        try:
            found[name] = [_READ[name](value) for value in values.split(",")] if equals else []
            for value in found[name]:
                check_targets(start.turned({name: value}).under(config))
        except (ValueError, Misfit) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"--axes: {word!r} is not to be had: {error}") from None
    return found


def usual_axes(start: Settings, config: Config, texts: int) -> Axes:
    """Values around those of the start, for trials of so many texts at most.

    Ranks and batches go in powers of two and four, as they do in print; alpha is once or twice the rank; learning rate
    and epochs go to half and twice. A batch is not tried that would hold all texts, if the start's does.
    """
    lora, optim = start.lora, start.optim
    batches = sorted({max(1, optim.batch_size // 4), optim.batch_size, 4 * optim.batch_size})
    whole = () if set(lora.targets) >= _EVERY else ((ALL_LINEAR,),)
    targets = dict.fromkeys([lora.targets, _PAPER_TARGETS, *whole])
    return {
        "rank": sorted({max(1, lora.rank * times // 4) for times in (1, 2, 4, 8)}),
        "alpha": sorted({lora.scale, 1.0, 2.0}),
        "targets": [names for names in targets if names == lora.targets or _has(config, names)],
        "lr": [optim.lr / 2, optim.lr, optim.lr * 2],
        "epochs": sorted({max(1, optim.epochs // 2), optim.epochs, 2 * optim.epochs}),
        "batch_size": [size for size in batches if size == optim.batch_size or size < texts],
    }


def candidates(config: Config, axes: Axes, texts: int, seed: int) -> list[Settings]:
    """All that may be tried: the start, the nearest preset and the paper's where no axes were named, then the others
    in an order that the seed decides."""
    start = Settings.of(config)
    usual = usual_axes(start, config, texts)
    chosen = {name: axes.get(name) or usual[name] for name in (axes or usual)}
    rng = random.Random(seed)
    drawn = dict.fromkeys(tuple(map(rng.choice, chosen.values())) for _ in range(_DRAWS))
    others = [start.turned(dict(zip(chosen, values, strict=True))) for values in drawn]
    known = [] if axes else [_preset(name, start, config) for name in ("auto", "paper")]
    every = list(dict.fromkeys(each for each in [start, *known, *others] if each))
    if len(every) < 2:
        raise UserError("--axes: leave nothing to try but the settings of the config; give other values, or more axes")
    return every


def _preset(name: str, start: Settings, config: Config) -> Settings | None:
    """A preset's, where there is one for this model and the model has what it names."""
    try:
        found, _ = with_preset(replace(config, trial=TrialSection(preset=name)), ask_hub=False)
    except UserError:
        return None
    lora, optim = found.trial.lora, found.trial.optim
    if not _has(config, lora.targets):
        return None
    return Settings(lora, replace(start.optim, lr=optim.lr, epochs=optim.epochs, batch_size=optim.batch_size))


def _has(config: Config, targets: tuple[str, ...]) -> bool:
    """Whether the model has modules of these names."""
    lora = replace(config.trial.lora, targets=targets)
    try:
        check_targets(replace(config, trial=replace(config.trial, lora=lora)))
    except UserError:
        return False
    return True
