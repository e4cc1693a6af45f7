"""A source of passages that is written to while a run is at work."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path

from seal_ray.config import load
from seal_ray.events import Event
from seal_ray.loop.run import run
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store

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


def test_a_later_round_draws_the_passages_that_the_run_began_with(tmp_path: Path) -> None:
    source = Path(shutil.copy(JOBS / "passages.jsonl", tmp_path))
    given = ["--run.dir", str(tmp_path / "run"), "--run.rounds", "2", "--domain.options.train", str(source)]
    given += ["--model.path", "microworld", "--trial.lora.targets", '["q_proj"]', "--update.lora.targets", '["q_proj"]']
    given += ["--workers.address", "in-process", "--evaluation.baselines", "[]", "--evaluation.samples", "0"]
    run(load(JOBS / "knowledge_small.toml", [*given, "--sampling.max_tokens", "8"]), Editing(source))
    assert "Later." in source.read_text()
    tasks = defaultdict(set)
    for row in Journal(Store(str(tmp_path / "run"))).rows("self_edits"):
        tasks[row["stage"]].add(row["task_id"])
    assert tasks["round 1"] == tasks["round 2"] != set()
