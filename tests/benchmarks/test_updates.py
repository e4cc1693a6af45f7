"""The rules of the update are held to one another over the same trials, which are done once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.updates import RULES, Measured, table, updates
from seal_ray.observe.progress import Silent
from seal_ray.record.summary import Interval
from tests.in_process import CountingCluster

TINY = ["--domain.train", "2", "--domain.test", "1", "--sampling.max_tokens", "60", "--update.optim.epochs", "1"]


@pytest.mark.slow
def test_every_rule_is_measured_over_the_same_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seal_ray.workers.in_process.InProcessCluster", CountingCluster)
    monkeypatch.setattr("benchmarks.updates.RULES", {rule: RULES[rule] for rule in ("none", "grpo")})
    CountingCluster.done.clear()
    none, grpo = updates((1,), str(tmp_path), TINY, Silent())
    # Ten self-edits are tried, two tasks asked without training and a held-out one measured before and after.
    assert CountingCluster.done["trial"] <= 10 + 2 + 1 + 1
    assert CountingCluster.done["update"] == 1
    assert (none.steps, grpo.steps) == (0, -(-grpo.learnt // 8))
    assert none.gain.accuracy == 0.0
    assert grpo.gain.accuracy == pytest.approx(grpo.accuracy.accuracy - none.accuracy.accuracy)
    assert updates((1,), str(tmp_path), TINY, Silent()) == [none, grpo]
    assert CountingCluster.done["update"] == 1


def test_the_table_gives_each_rule_with_its_steps_and_intervals() -> None:
    found = [
        Measured(rule, 16, 12, Interval(0.5, 0.4, 0.6, 72), Interval(0.1, -0.1, 0.2, 72)) for rule in ("none", "x")
    ]
    assert table(found).splitlines()[2:] == [
        "| `none` | 16 | 12 | 50.0% (40.0% – 60.0%) | – |",
        "| `x` | 16 | 12 | 50.0% (40.0% – 60.0%) | +10.0 (-10.0 to +20.0) |",
    ]
