"""What a run leaves for others is what it learnt, in forms that other tools load."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM

from seal_ray.loop.run import run
from seal_ray.model.locate import resolve
from seal_ray.observe.progress import Silent
from seal_ray.ops import export
from seal_ray.published.import_record import import_record
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow, PlannedRow, PolicyRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import Interval, summarize
from seal_ray.types import UserError
from tests.disks import mounted
from tests.record.journals import add
from tests.runs import results, small_run
from tests.shared import SHARED, needs_shared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "run"
    head = [
        "--update.lora.targets",
        '["q_proj", "v_proj", "lm_head"]',
    ]  # which the base has in common with its embeddings
    run(small_run(folder, "--domain.test", "1", "--workers.address", "in-process", *head), Silent())
    return folder


def test_the_policy_is_the_same_model_as_adapter_and_merged(finished: Path, tmp_path: Path) -> None:
    assert export.export_adapter(str(finished), str(tmp_path / "adapter")) == 2
    export.export_merged(str(finished), str(tmp_path / "merged"))
    base = AutoModelForCausalLM.from_pretrained(resolve("microworld"), dtype=torch.float64)
    adapted = PeftModel.from_pretrained(base, str(tmp_path / "adapter"), autocast_adapter_dtype=False)
    found = AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "adapter"), dtype=torch.float64)  # with its base
    merged = AutoModelForCausalLM.from_pretrained(str(tmp_path / "merged"), dtype=torch.float64)
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(merged(ids).logits, found(ids).logits, atol=1e-4, rtol=1e-4)


def test_a_policy_of_a_quantized_base_is_merged_into_the_base_as_it_is(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    tree = json.loads((copy / "config.json").read_text())
    models = []
    for kind in ("none", "int8"):
        tree["config"]["model"] |= {"quantization": kind, "dtype": "float32"}
        (copy / "config.json").write_text(json.dumps(tree))
        export.export_merged(str(copy), str(tmp_path / kind))
        models.append(AutoModelForCausalLM.from_pretrained(str(tmp_path / kind), dtype=torch.float32).state_dict())
    assert models[0].keys() == models[1].keys()
    assert all(torch.equal(weight, models[1][name]) for name, weight in models[0].items())


def test_whoever_may_read_the_model_card_may_read_the_weights(finished: Path, tmp_path: Path) -> None:
    export.export_adapter(str(finished), str(tmp_path))
    card, weights = (tmp_path / name for name in ("README.md", "adapter_model.safetensors"))
    assert weights.stat().st_mode == card.stat().st_mode


def test_the_model_card_says_what_was_trained_and_measured(finished: Path, tmp_path: Path) -> None:
    export.export_adapter(str(finished), str(tmp_path))
    card = (tmp_path / "README.md").read_text()
    assert "base_model: microworld" in card
    assert all(f"| {arm} |" in card for arm in ("base", "passage only", "untrained self-edits", "after round 2"))


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_the_snippet_on_the_model_card_runs_in_a_folder_that_export_made(
    form: str, finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    getattr(export, f"export_{form}")(str(finished), str(folder))
    card = (folder / "README.md").read_text()
    assert f"library_name: {'peft' if form == 'adapter' else 'transformers'}\n" in card
    snippet = card.split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", snippet], cwd=folder, capture_output=True, text=True)
    assert done.stdout.strip(), done.stderr


def test_any_policy_can_be_named_or_the_best_one(finished: Path, tmp_path: Path) -> None:
    measured = summarize(Journal(Store(str(finished))))
    best = max((1, 2), key=lambda version: measured[f"after round {version}"].accuracy)
    assert export.chosen_policy(str(finished), "best").version == best
    assert export.export_adapter(str(finished), str(tmp_path / "first"), "1") == 1
    assert "policy after round 1" in (tmp_path / "first" / "README.md").read_text()
    with pytest.raises(UserError, match="--policy '7': give best, or one of 1, 2"):
        export.chosen_policy(str(finished), "7")


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_a_folder_whose_path_is_not_utf_8_is_refused_in_a_line(form: str, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(UserError, match="its whole path holds bytes that are not UTF-8"):
        getattr(export, f"export_{form}")(str(finished), str(out))
    assert not any(tmp_path.iterdir())


def test_a_head_can_be_named_where_no_round_made_a_policy(tmp_path: Path) -> None:
    rows = [
        LearntRow("a", "task", version=1, sequence=0, step=1),
        LearntRow("b", "task", version=2, sequence=1, step=1, rank=4, adapter="kept"),
        LearntRow("c", "task", version=3, sequence=0, step=1, way="library", learned="own"),
    ]
    journal = Journal(Store(str(tmp_path)))
    for row in rows:
        journal.on(row)
    journal.flush()
    assert export.chosen_policy(str(tmp_path), "sequence 1") == rows[1]
    with pytest.raises(UserError, match="'sequence 0 by library': each passage has an adapter of its own there"):
        export.chosen_policy(str(tmp_path), "sequence 0 by library")
    with pytest.raises(UserError, match="'sequence 0': nothing could be learnt there"):
        export.chosen_policy(str(tmp_path), "sequence 0")
    with pytest.raises(
        UserError, match="'7': give best, or one of 1, 2, 3, sequence 0, sequence 0 by library, sequence 1"
    ):
        export.chosen_policy(str(tmp_path), "7")
    with pytest.raises(UserError, match="no round has trained a policy; name another with --policy: sequence 0, "):
        export.chosen_policy(str(tmp_path))


@pytest.mark.parametrize("lacking", ["outcomes", "plans"])
def test_a_policy_of_which_not_all_is_measured_yet_is_not_the_best_one(lacking: str, tmp_path: Path) -> None:
    """One of four tasks, answered well by chance, says nothing beside all four."""
    journal = Journal(Store(str(tmp_path)))
    for version, task in itertools.product((1, 2), range(4)):
        key, is_to_come = f"{version}-{task}", version == 2 and task > 0
        if not task:
            journal.on(PolicyRow(f"p{version}", version, version - 1, rank=4, adapter="a"))
        if not (is_to_come and lacking == "plans"):
            journal.on(PlannedRow.at("evaluation", f"after round {version}", f"t{task}", 0, 0, key))
        if not is_to_come:
            add(journal, key, reward=1.0 if version == 2 else 0.5)
    journal.flush()
    assert export.chosen_policy(str(tmp_path), "best").version == 1
    assert export.chosen_policy(str(tmp_path)).version == 2


def test_a_policy_of_which_every_trial_failed_is_not_the_best_one(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    void, poor = Interval(math.nan, math.nan, math.nan, 4, failed=1.0), Interval(0.1, 0.0, 0.2, 4)
    monkeypatch.setattr(export, "summarize", lambda _: {"after round 1": void, "after round 2": poor})
    assert export.chosen_policy(str(finished), "best").version == 2
    monkeypatch.setattr(export, "summarize", lambda _: {"after round 1": void, "after round 2": void})
    with pytest.raises(UserError, match="no policy was measured"):
        export.chosen_policy(str(finished), "best")


def test_the_self_edits_of_the_last_round_are_rows_of_prompt_and_completion(finished: Path, tmp_path: Path) -> None:
    count = export.export_self_edits(str(finished), str(tmp_path / "new" / "rows.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "new" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == count == results(finished)["policies"][2]
    journal = Journal(Store(str(finished)))
    written = {row["completion"]: row["finished"] for row in journal.rows("self_edits")}
    assert {row["completion"]: row.pop("finished", True) for row in rows}.items() <= written.items()
    assert all(row.keys() == {"prompt", "completion"} for row in rows)


def test_self_edits_that_find_no_room_leave_what_was_there_as_it_was(finished: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "8k") as disk:
        out = disk.folder / "rows.jsonl"
        out.write_text("mine" * 2000)
        with pytest.raises(OSError, match="No space left"):
            export.export_self_edits(str(finished), str(out))
        assert [(file.name, file.read_text()) for file in disk.folder.iterdir()] == [("rows.jsonl", "mine" * 2000)]


@needs_shared
def test_a_recorded_round_carried_over_keeps_exactly_the_recorded_choice(tmp_path: Path) -> None:
    records = SHARED / "data/seal_records"
    assert import_record(str(records / "rank_iter0.json"), str(tmp_path / "run")) == 250
    assert export.export_self_edits(str(tmp_path / "run"), str(tmp_path / "kept.jsonl")) == 50
    recorded = (records / "sft_best1of5_iter0.jsonl").read_text().splitlines()
    carried = (tmp_path / "kept.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in carried] == [json.loads(line) for line in recorded]
    with pytest.raises(UserError, match="holds a run already"):
        import_record(str(records / "rank_iter0.json"), str(tmp_path / "run"))
