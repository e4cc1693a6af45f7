"""What methods of learning a text were measured to teach: the table that ships, or runs of one's own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seal_ray.config import Config
from seal_ray.methods.base import makes_adapter
from seal_ray.model.architecture import model_shape
from seal_ray.plain import counted
from seal_ray.record.journal import Journal
from seal_ray.record.methods import AGAINST, by_method
from seal_ray.record.methods_table import is_held
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import recorded_config
from seal_ray.types import UserError

TABLE = Path(__file__).with_name("curves.toml")
MEASURED = "measured"
"""What runs of one's own are called."""
Cost = Literal["written", "trained"]


@dataclass(frozen=True)
class Point:
    """A method as it was measured; means over tasks."""

    method: str
    texts: float
    accuracy: float
    low: float
    """The ends of the accuracy's interval."""
    high: float
    written: float
    """Tokens of a passage."""
    trained: float
    run: str
    """Which of the curves' runs measured it."""

    @classmethod
    def of(cls, row: Mapping[str, Any], run: str) -> Point:
        """A row of the table of methods."""
        low, high = row["interval"]
        return cls(row["method"], row["texts"], row["accuracy"], low, high, row["written"], row["trained"], run)

    @property
    def name(self) -> str:
        texts = f"{self.texts:g} texts" if self.texts != 1 else "1 text"
        return f"{self.method} with {texts} of each passage" if self.texts else f"{self.method} alone"


@dataclass(frozen=True)
class Curves:
    """Methods that were measured on the same passages with the same model."""

    text: str
    """What was learnt, in words."""
    domain: str
    model: str
    parameters: int
    """0 where the model's shape is not known here."""
    passage: float
    """Tokens of one."""
    epochs: int
    tasks: int
    runs: Mapping[str, str]
    """The commands that measured them, by name."""
    points: tuple[Point, ...]

    def cost(self, point: Point, of: Cost) -> float:
        """Tokens for each token of text."""
        return (point.written if of == "written" else point.trained) / self.passage


def shipped() -> list[Curves]:
    """Those that come with the package."""
    tables = tomllib.loads(TABLE.read_text(encoding="utf-8")).values()
    return [Curves(**{**table, "points": tuple(Point(**each) for each in table["points"])}) for table in tables]


def of_runs(dirs: Sequence[str]) -> Curves:
    """What runs of one's own measured, taken together; `UserError` where that is too little to go by."""
    configs = [recorded_config(each) for each in dirs]
    first, where = configs[0], ", ".join(dirs)
    if other := next((each for each in configs if _measured_on(each) != _measured_on(first)), None):
        raise UserError(
            f"--measured {where}: {_measured_on(other)} is not {_measured_on(first)}; give runs of one model and "
            "domain, and of as many epochs"
        )
    rows = [row for row in by_method([Journal(Store(each)) for each in dirs]) if _is_learnt_so(row)]
    most = max((row["tasks"] for row in rows), default=0)
    plain = next((row for row in rows if row["method"] == AGAINST), None)
    whole = [row for row in rows if row["tasks"] == most and row["trained"] and "interval" in row]
    if plain is None or plain not in whole:
        raise UserError(
            f"--measured {where}: holds too little to go by; measure {AGAINST!r} and others on six passages or more "
            "with `seal-ray methods`"
        )
    return Curves(
        text=f"texts of the domain {first.domain.name!r}",
        domain=first.domain.name,
        model=first.model.path,
        parameters=parameters_of(first.model.path),
        passage=plain["trained"] / first.trial.optim.epochs,
        epochs=first.trial.optim.epochs,
        tasks=most,
        runs={MEASURED: f"seal-ray eval {' '.join(dirs)}"},
        points=tuple(Point.of(row, MEASURED) for row in whole),
    )


def _measured_on(config: Config) -> str:
    """What the figures of runs that are taken together have in common."""
    return f"{config.model.path} on {config.domain.name} for {counted(config.trial.optim.epochs, 'epoch')}"


def _is_learnt_so(row: Mapping[str, Any]) -> bool:
    """Whether `learn` can do what a row came to: a method with a number of texts, of each passage."""
    return makes_adapter(row["method"]) and not row.get("together") and not is_held(row)


def parameters_of(model: str) -> int:
    """How large a model is; 0 where that is not known here."""
    try:
        return model_shape(model).parameters
    except UserError:
        return 0
