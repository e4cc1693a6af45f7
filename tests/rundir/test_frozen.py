"""A run is done once more by its manifest, and nothing else passes for it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from seal_ray.cli.app import main
from seal_ray.loop.again import run_again
from seal_ray.loop.preflight import prepare
from seal_ray.loop.run import frozen
from seal_ray.model.locate import resolve
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow
from seal_ray.record.storage import Store
from seal_ray.rundir.frozen import FILE
from seal_ray.types import UserError
from tests.runs import CONFIG, SMALL, results, small_run

TINY = [
    *("--domain.train", "2", "--domain.test", "2", "--sampling.per_task", "2", "--run.rounds", "1"),
    *("--trial.optim.epochs", "3", "--model.dtype", "float32", "--workers.address", "in-process"),
]


def begun(folder: Path, *more: str) -> Path:
    """The manifest of a run that is about to begin."""
    ready = prepare(small_run(folder, *TINY, *more))
    frozen(ready).write(Store(str(folder)))
    return folder / FILE


def edited(file: Path, *keys: str, to: Any) -> None:
    tree = json.loads(file.read_text())
    section = tree
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = to
    file.write_text(json.dumps(tree))


def trained(folder: Path) -> dict[str, Any]:
    """Losses to the last bit, and the adapters that policies are, by the hash of their content."""
    journal = Journal(Store(str(folder)))
    losses = {row.key: (row.first_loss, row.last_loss) for row in journal.read(OutcomeRow)}
    return {"losses": losses, "adapters": sorted(path.name for path in (folder / "adapters").iterdir())}


def test_a_second_run_of_a_manifest_is_the_first_to_the_last_bit_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "first", tmp_path / "first-again"
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(CONFIG), *SMALL, *TINY, "--run.dir", str(first), "--quiet"])
    edited(first / FILE, "environment", "numpy", to="1.0.0")
    with pytest.raises(SystemExit, match="0"), caplog.at_level(logging.WARNING):
        main(["again", str(first / FILE), "--quiet"])
    rewards = results(first)["rewards"]
    assert rewards
    assert results(second) == results(first)
    assert trained(second) == trained(first)
    assert f"{len(rewards)} of {len(rewards)} trials came to the very reward" in capsys.readouterr().err
    assert f"numpy 1.0.0 -> {np.__version__}" in caplog.text


def test_methods_that_the_last_command_left_out_are_not_held_against_the_second_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    least = [*SMALL, *TINY, "--run.rounds", "0", "--evaluation.samples", "0", "--evaluation.baselines", "[]"]
    for method in ("passage", "in-context"):
        asked = ["--evaluation.methods", f'["{method}"]', "--run.dir", str(tmp_path / "run")]
        with pytest.raises(SystemExit, match="0"):
            main(["run", str(CONFIG), *least, *asked, "--quiet"])
    with pytest.raises(SystemExit, match="0"):
        main(["again", str(tmp_path / "run" / FILE), "--quiet"])
    said = capsys.readouterr().err
    assert "2 of 2 trials came to the very reward of the first run; 2 more of it" in said


def test_other_weights_are_refused_by_the_name_of_their_file(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(resolve("microworld"), model)
    file = begun(tmp_path / "run", "--model.path", str(model))
    weights = load_file(model / "model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] + np.float32(1e-3)}, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"another run \(model\..*safetensors: the content has changed"):
        run_again(str(file))
    assert not (tmp_path / "run-again").exists()


def test_other_tasks_are_refused_by_their_ids_and_by_what_they_say(tmp_path: Path) -> None:
    file = begun(tmp_path / "run")
    tasks = json.loads(file.read_text())["tasks"]
    assert len(tasks["held_out"]) == len(tasks["training"][0]) == 2
    edited(file, "tasks", "content", to="another")
    with pytest.raises(UserError, match="say or ask something else"):
        run_again(str(file))
    edited(file, "tasks", "held_out", to=[tasks["held_out"][0], "gone"])
    with pytest.raises(UserError, match=r"the held-out tasks are others: 1 are gone, such as \['gone'\]"):
        run_again(str(file))


def test_what_is_no_manifest_is_refused_and_so_is_the_run_itself(tmp_path: Path) -> None:
    file = begun(tmp_path / "run")
    with pytest.raises(UserError, match="the run itself is here"):
        run_again(str(file), into=str(tmp_path / "run"))
    with pytest.raises(UserError, match=r"--trial\.seeds: a run goes on as it was begun"):
        run_again(str(file), overrides=["--trial.seeds", "9"])
    with pytest.raises(UserError, match="the run itself is here"):
        run_again(str(tmp_path / "run"), into=str(tmp_path / "run"))
    with pytest.raises(UserError, match=r"manifest\.json: cannot be read: No such file"):
        run_again(str(tmp_path))
    for text in ("no JSON", "[]", "{}", '{"schema": 2, "config": []}'):
        file.write_text(text)
        with pytest.raises(UserError, match="is no manifest of a run"):
            run_again(str(file))
    with pytest.raises(UserError, match=r"cannot be read: No such file"):
        run_again(str(tmp_path / "nowhere.json"))
