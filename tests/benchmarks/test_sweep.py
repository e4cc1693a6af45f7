"""A sweep measures each point once, and what no setting changes once for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sweep import MEASURED, Point, read_grid, sweep, table
from seal_ray.observe.progress import Silent
from seal_ray.types import UserError
from tests.in_process import CountingCluster
from tests.runs import CONFIG

GRID = f"""
job = "{CONFIG}"
[settings]
"domain.test" = 2
"evaluation.samples" = 0
"trial.optim.epochs" = 1
[grid]
"trial.lora.rank" = [2, 4]
"""


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("seal_ray.workers.in_process.InProcessCluster", CountingCluster)
    CountingCluster.done.clear()
    (tmp_path / "grid.toml").write_text(GRID)
    return str(tmp_path / "grid.toml")


def test_each_point_is_measured_once_and_the_base_once_for_all(grid: str, tmp_path: Path) -> None:
    found = sweep(grid, (), str(tmp_path / "points"), Silent())
    assert [point.settings for point in found] == [{"trial.lora.rank": 2}, {"trial.lora.rank": 4}]
    assert CountingCluster.done["trial"] == 2 + 2 * 2  # two tasks: the base, and the passage at either rank
    assert found[0].arms["base"] == found[1].arms["base"]
    assert sweep(grid, (), str(tmp_path / "points"), Silent()) == found
    assert CountingCluster.done["trial"] == 6


def test_a_sweep_that_was_stopped_goes_on_with_the_same_result(grid: str, tmp_path: Path) -> None:
    found = sweep(grid, (), str(tmp_path / "points"), Silent())
    for mark in sorted((tmp_path / "points").glob(f"*/{MEASURED}"))[:1]:
        mark.unlink()  # as if it had been stopped just before
    assert sweep(grid, (), str(tmp_path / "points"), Silent()) == found
    assert CountingCluster.done["trial"] == 6


def test_the_table_has_every_point_and_the_best_of_each_arm_in_bold() -> None:
    def arm(accuracy: float | None) -> dict[str, float | None]:
        return {"accuracy": accuracy, "low": 0.0, "high": 1.0}

    points = [Point({"a.b": ["x", "y"]}, {"base": arm(0.25)}), Point({"a.b": "z"}, {"base": arm(0.5)})]
    lines = table([*points, Point({"a.b": "w"}, {"base": arm(None)})]).splitlines()
    assert lines[0] == "| `a.b` | base |"
    assert lines[2:] == [
        "| x, y | 25.0% (0.0% – 100.0%) |",
        "| z | **50.0%** (0.0% – 100.0%) |",
        "| w | failed |",
    ]


@pytest.mark.parametrize("text", ["job = 3", '[grid]\n"a" = [1]', 'job = "x"\n[grid]\n"a" = 1', "job ="])
def test_a_file_that_is_no_grid_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "grid.toml").write_text(text)
    with pytest.raises(UserError, match="no grid"):
        read_grid(str(tmp_path / "grid.toml"))
    with pytest.raises(UserError, match="cannot be read"):
        read_grid(str(tmp_path / "none.toml"))


def test_the_shipped_grid_names_settings_that_exist(tmp_path: Path) -> None:
    from benchmarks.sweep import _overrides
    from seal_ray.config import load

    shipped = read_grid(str(CONFIG.parents[1] / "benchmarks/sweep_small.toml"))
    points = list(shipped.points())
    assert len(points) == 16
    config = load(shipped.job, _overrides(shipped.settings | points[-1]))
    assert config.trial.lora.targets == ("all-linear",)
