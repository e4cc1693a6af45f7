"""Which settings are tried: those that somebody measured, and others around the config's own, by a seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.config import Config, load
from seal_ray.tuning.space import Settings, candidates, parse_axes, usual_axes
from seal_ray.types import ALL_LINEAR, LoraSpec, UserError
from tests.runs import CONFIG

JOB = Path(__file__).parents[2] / "jobs/squad_small.toml"


@pytest.fixture
def config() -> Config:
    return load(CONFIG)


def test_the_start_and_the_papers_come_first_and_the_seed_decides_what_follows(config: Config) -> None:
    found = candidates(config, {}, texts=30, seed=1)
    assert found[0] == Settings.of(config)
    assert (found[1].lora.rank, found[1].optim.lr, found[1].optim.epochs) == (32, 1e-3, 10)
    assert found[1].optim.betas == config.trial.optim.betas
    assert len(found) == len(set(found)) > 50
    assert candidates(config, {}, texts=30, seed=1) == found
    assert candidates(config, {}, texts=30, seed=2)[2:12] != found[2:12]


def test_a_small_instruct_models_preset_is_tried_where_it_is_the_nearest() -> None:
    config = load(JOB, ["--trial.preset", "none", "--trial.optim.epochs", "3"])
    found = candidates(config, {}, texts=1, seed=1)
    presets = {(each.lora.rank, each.lora.targets[:2], each.optim.epochs) for each in found[:3]}
    assert (32, ("q_proj", "v_proj"), 10) in presets


def test_the_usual_values_lie_around_the_start_and_none_comes_to_the_same(config: Config) -> None:
    start = Settings.of(config)
    axes = usual_axes(start, config, texts=30)
    assert axes["rank"] == [4, 8, 16, 32]
    assert axes["lr"] == [1e-2, 2e-2, 4e-2]
    assert axes["epochs"] == [7, 15, 30]
    assert axes["targets"] == [start.lora.targets, ("q_proj", "v_proj")]
    assert axes["batch_size"] == [16, 64]  # 256 would hold all texts too
    assert usual_axes(start, config, texts=1)["batch_size"] == [64]
    few = replace(start, lora=LoraSpec(1, 3.0, ("k_proj",)))
    assert usual_axes(few, config, texts=30)["rank"] == [1, 2]
    assert usual_axes(few, config, texts=30)["alpha"] == [1.0, 2.0, 3.0]
    assert (ALL_LINEAR,) in usual_axes(few, config, texts=30)["targets"]


def test_only_what_is_named_is_turned_and_alpha_is_a_multiple_of_the_rank(config: Config) -> None:
    start = Settings.of(config)
    axes = parse_axes("rank=2,4 alpha=2 lr", start, config)
    found = candidates(config, axes, texts=30, seed=1)
    assert {each.lora.rank for each in found[1:]} == {2, 4}
    assert {each.lora.alpha for each in found[1:]} == {4.0, 8.0}
    assert {each.optim.lr for each in found} == {1e-2, 2e-2, 4e-2}
    assert {(each.lora.targets, each.optim.epochs) for each in found} == {(start.lora.targets, 15)}
    assert len(found) == 1 + 2 * 3
    chosen = parse_axes("targets=q_proj+v_proj,all-linear", start, config)
    assert chosen == {"targets": [("q_proj", "v_proj"), ("all-linear",)]}


WRONG = {
    "rnak": "did you mean 'rank'",
    "momentum": "known: rank, alpha",
    "rank=0": "'rank=0' is not to be had",
    "rank=": "'rank=' is not to be had",
    "lr=1e-3 rank lr=1e-2": "names 'lr' twice",
    "lr=fast": "'lr=fast' is not to be had",
    "targets=q_prj": "no linear module of microworld is named 'q_prj'",
}


@pytest.mark.parametrize("axes", WRONG)
def test_what_cannot_be_tried_is_refused(config: Config, axes: str) -> None:
    with pytest.raises(UserError, match=WRONG[axes]) as error:
        parse_axes(axes, Settings.of(config), config)
    assert "\n" not in str(error.value)


def test_axes_that_leave_only_the_start_are_refused(config: Config) -> None:
    with pytest.raises(UserError, match="leave nothing to try"):
        candidates(config, {"rank": [16]}, texts=30, seed=1)


def test_settings_are_called_by_all_that_is_tuned(config: Config) -> None:
    name = "rank 16, alpha 16, targets q+k+v+o+gate+up+down, lr 0.02, epochs 15, batch 64"
    assert Settings.of(config).name == name
