"""A source of passages that is written to while a run is at work."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from seal_ray.config import Config, load
from seal_ray.domains.knowledge.reading import passages
from seal_ray.events import Event
from seal_ray.learning.documents import read_documents
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
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


def two_rounds(folder: Path, source: Path, *given: str) -> Config:
    options = ["--run.dir", str(folder / "run"), "--run.rounds", "2", "--domain.options.train", str(source)]
    options += ["--model.path", "microworld", "--trial.lora.targets", '["q_proj"]']
    options += ["--update.lora.targets", '["q_proj"]', "--workers.address", "in-process"]
    options += ["--evaluation.baselines", "[]", "--evaluation.samples", "0", "--sampling.max_tokens", "8"]
    return load(JOBS / "knowledge_small.toml", [*options, *given])


def edited_run(folder: Path, *given: str) -> dict[str, set[str]]:
    """Two rounds over a source that is written to meanwhile; the tasks of each stage."""
    source = Path(shutil.copy(JOBS / "passages.jsonl", folder))
    run(two_rounds(folder, source, *given), Editing(source))
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


def test_a_run_that_lies_among_its_documents_is_none_of_them(tmp_path: Path) -> None:
    """It reads them before each round that draws fresh ones, and knows itself again."""
    here = tmp_path / "here"
    here.mkdir()
    shutil.copy(JOBS / "passages.jsonl", here)
    before = list(passages(str(here)))
    config = two_rounds(here, here, "--domain.fresh", "true")
    run(config, Silent())
    (here / "run/report.html").write_text("<p>What came of it.</p>")
    assert list(passages(str(here))) == before
    with pytest.raises(UserError, match="holds no document with text"):
        read_documents([here], tmp_path)
    run(config, Silent())


def test_what_is_hidden_or_goes_with_a_model_is_no_document(tmp_path: Path) -> None:
    adapter = ("exported/README.md", "exported/adapter_config.json", "exported/model.safetensors")
    for name in ("harbour.md", ".drafts/harbour.md", "mine/ships.md", "mine/beside.safetensors", *adapter):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"This is {name}.")
    found = {passage.context for passage in passages(str(tmp_path))}
    assert found == {"This is harbour.md.", "This is mine/ships.md."}
