"""A source of passages that is written to while a run is at work."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from seal_ray.config import load
from seal_ray.events import Event
from seal_ray.loop.run import run
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.types import UserError

JOBS = Path(__file__).parents[2] / "jobs"


class Editing:
    """Changes every passage as soon as anything happens in the run."""

    def __init__(self, source: Path) -> None:
        self._source = source

    def on(self, event: Event) -> None:
        rows = [json.loads(line) for line in self._source.read_text().splitlines()]
        changed = [row | {"context": f"{row['context'].removesuffix(' Later.')} Later."} for row in rows]
        self._source.write_text("\n".join(map(json.dumps, changed)))

    def close(self) -> None:
        pass


def edited_run(folder: Path, *given: str) -> dict[str, set[str]]:
    """Two rounds over a source that is written to meanwhile; the tasks of each stage."""
    source = Path(shutil.copy(JOBS / "passages.jsonl", folder))
    options = ["--run.dir", str(folder / "run"), "--run.rounds", "2", "--domain.options.train", str(source)]
    options += ["--model.path", "microworld", "--trial.lora.targets", '["q_proj"]']
    options += ["--update.lora.targets", '["q_proj"]', "--workers.address", "in-process"]
    options += ["--evaluation.baselines", "[]", "--evaluation.samples", "0", "--sampling.max_tokens", "8"]
    run(load(JOBS / "knowledge_small.toml", [*options, *given]), Editing(source))
    assert "Later." in source.read_text()
    tasks = defaultdict(set)
    for row in Journal(Store(str(folder / "run"))).rows("self_edits"):
        tasks[row["stage"]].add(row["task_id"])
    return tasks


def test_a_later_round_draws_the_passages_that_the_run_began_with(tmp_path: Path) -> None:
    tasks = edited_run(tmp_path)
    assert tasks["round 1"] == tasks["round 2"] != set()


def test_a_round_that_would_draw_fresh_ones_from_another_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"domain\.options\.train: .+ has changed since the run began"):
        edited_run(tmp_path, "--domain.fresh", "true")
    assert {row["stage"] for row in Journal(Store(str(tmp_path / "run"))).rows("self_edits")} == {"round 1"}
