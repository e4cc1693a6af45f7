"""Whether a choice of settings by task pays: on rewards where it does, where it cannot, and on a small world."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import bench
from benchmarks.per_task import Chosen, Tried, ways
from seal_ray.types import UserError


def invented(by_task: float, settings: int = 4, tasks: int = 40, noise: float = 0.05) -> Tried:
    """Rewards that are alike for all settings but for noise, and for what a feature of the task says of the second."""
    rng = np.random.default_rng(0)
    feature = rng.standard_normal(tasks)
    rewards = 0.5 + noise * rng.standard_normal((settings, tasks, 2))
    rewards[1] += by_task * feature[:, None]
    features = np.stack([feature, rng.standard_normal(tasks)], axis=1)
    return Tried(tuple("abcd"[:settings]), rewards, features, np.array([1.0, 1.0, 0.5, 2.0][:settings]))


def by_way(tried: Tried) -> dict[str, Chosen]:
    return {each.way: each for each in ways(tried)}


def test_where_features_say_which_settings_suit_a_task_choosing_by_them_pays() -> None:
    found = by_way(invented(by_task=0.2))
    assert found["the start"].over.accuracy == 0
    assert found["the best by features"].over.low > 0.01
    assert found["the best at the other seed"].over.low > 0.01


def test_where_settings_differ_by_luck_alone_no_choice_seems_to_pay() -> None:
    for way in by_way(invented(by_task=0.0)).values():
        assert way.over.low < 0.02, way
        assert abs(way.over.accuracy) < 0.03, way


def test_what_is_as_good_for_less_is_chosen_by_its_cost() -> None:
    found = by_way(invented(by_task=0.0, noise=0.001))
    assert found["the cheapest as good on the other tasks"].flops == 0.5
    assert found["the cheapest as good by features"].flops == 0.5
    assert found["the start"].flops == 1.0


def test_a_bandit_leaves_what_earns_nothing() -> None:
    tried = invented(by_task=0.0)
    tried.rewards[2:] -= 0.5
    bandit = by_way(tried)["a bandit over the tasks"]
    assert bandit.over.accuracy > -0.15


def test_too_few_to_choose_from_is_refused() -> None:
    with pytest.raises(UserError, match="4 settings on 2 tasks"):
        ways(invented(by_task=0.0, tasks=2))


def test_a_small_world_is_tried_and_judged_and_not_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["per-task", "jobs/microworld.toml", "--settings", "2", "--tasks", "3", "--axes", "rank=2,4"]
    words += ["--on", "passage", "--quiet"]
    words += ["--into", str(tmp_path / "run"), "--workers.address", "in-process", "--domain.train", "6"]
    words += ["--trial.optim.epochs", "2", "--domain.test", "1"]
    bench([*words, "--json"], result_action="return_value")
    first = json.loads(capsys.readouterr().out)
    assert len(first) == 8
    assert first[0]["over"]["accuracy"] == 0.0
    files = sorted(path.name for path in (tmp_path / "run/journal/outcomes").iterdir())
    bench(words, result_action="return_value")
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "2 settings on 3 tasks, two seeds each"
    assert len(table) == 12
    assert sorted(path.name for path in (tmp_path / "run/journal/outcomes").iterdir()) == files
