"""Trees as frozen dataclasses, whoever wrote the dataclass, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from seal_ray import plugins, run
from seal_ray.config import Config, DomainSection, Model, Run, Sampling, parse
from seal_ray.reading import as_tree
from seal_ray.sources import READS, SourcePath, marked
from seal_ray.types import Bounds, UserError


@dataclass(frozen=True)
class Plain:
    source: SourcePath = ""
    size: Annotated[float, Bounds(gt=0)] = 1


class Modelled(BaseModel, extra="forbid"):
    source: SourcePath = ""
    size: float = Field(1, gt=0)


@pytest.mark.parametrize("kind", [Plain, Modelled])
def test_options_of_ones_own_are_a_dataclass_or_a_pydantic_model(kind: Any) -> None:
    made = plugins.options("domain.options", kind, {"source": "here", "size": 2})
    assert isinstance(made, kind)
    assert as_tree(made) == {"source": "here", "size": 2.0}
    assert list(marked(kind, READS)) == list(marked(made, READS)) == ["source"]
    with pytest.raises(UserError, match=r"options.sise: extra inputs are not permitted \(known: source, size\)"):
        plugins.options("domain.options", kind, {"sise": 2})
    with pytest.raises(UserError, match=r"options.size: input should be greater than 0"):
        plugins.options("domain.options", kind, {"size": 0})


def test_options_of_a_dataclass_that_says_nothing_of_it_are_finite() -> None:
    with pytest.raises(UserError, match=r"options.size: input should be a finite number"):
        plugins.options("domain.options", Plain, {"size": float("inf")})


def microworld(**run_: Any) -> Config:
    return Config(run=Run(**run_), model=Model(path="microworld"), domain=DomainSection(name="microworld"))


def test_a_config_made_in_python_is_that_of_a_file_which_says_the_same() -> None:
    tree = {"run": {"seed": 3}, "model": {"path": "microworld"}, "domain": {"name": "microworld"}}
    assert microworld(seed=3) == parse(tree, "here") == parse(as_tree(microworld(seed=3)), "here")


def test_a_config_made_in_python_is_held_to_its_bounds_before_a_run_begins(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'run.rounds': input should be greater than or equal to 0"):
        run(microworld(rounds=-1, dir=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", ["hot", None, [1.0], 10**400])
def test_what_is_no_number_in_a_config_made_in_python_is_refused_by_its_name(given: Any) -> None:
    config = Config(
        model=Model(path="microworld"), domain=DomainSection(name="microworld"), sampling=Sampling(temperature=given)
    )
    with pytest.raises(UserError, match=r"'sampling.temperature': input should be"):
        run(config)


@pytest.mark.parametrize("given", [True, False])
def test_true_and_false_are_no_numbers(given: bool) -> None:
    for section, key in (("run", "rounds"), ("sampling", "temperature")):
        with pytest.raises(UserError, match=rf"'{section}.{key}': a number, not true or false \(got {given}\)"):
            parse({section: {key: given}}, "here")
