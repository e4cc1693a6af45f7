"""The demo: a micro-world run, and beside it the control that keeps random self-edits instead of the best."""

from __future__ import annotations

from collections.abc import Sequence

from seal_ray.cli import shipped
from seal_ray.config import Config, load
from seal_ray.loop.run import run
from seal_ray.observe.progress import Progress
from seal_ray.reading import overriding
from seal_ray.record.summary import Interval
from seal_ray.types import UserError


def demo_config(seed: int, directory: str, *more: str) -> Config:
    """The shipped micro-world config, in this directory, with this seed."""
    return load(shipped.folder() / "microworld.toml", ["--run.seed", str(seed), "--run.dir", directory, *more])


def run_demo(
    seed: int, directory: str, progress: Progress, control: Progress, overrides: Sequence[str] = ()
) -> dict[str, Interval]:
    """Both runs; the control, measured after its last round, comes last."""
    for keys, _ in overriding(overrides):
        if keys in (["run", "dir"], ["run", "seed"]):
            raise UserError(f"--{'.'.join(keys)}: the demo is two runs; give --{keys[1]}, from which both have theirs")
    found = run(demo_config(seed, directory, *overrides), progress)
    last_only = ["--evaluation.baselines", "[]", "--evaluation.every_round", "false"]
    without_reward = ["--selection.rule", "random", "--run.name", "control", *last_only]
    drawn = run(demo_config(seed, f"{directory}/control", *overrides, *without_reward), control, beside=directory)
    return found | {f"control, {arm}": measured for arm, measured in drawn.items()}
