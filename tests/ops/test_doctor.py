"""The doctor finds what is wrong before a run does, and says what to do."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from seal_ray.config import load
from seal_ray.model.locate import resolve
from seal_ray.model.precision import of_this_process
from seal_ray.ops import doctor
from seal_ray.ops.doctor import Check, examine
from tests.bank.small import SHAPE
from tests.bank.test_hybrids import HYBRIDS
from tests.disks import mounted
from tests.model.test_architecture import saved
from tests.runs import CONFIG

JOBS = CONFIG.parent
ONE_EACH = [
    *("--domain.train", "1", "--domain.test", "1", "--model.path", "microworld", "--sampling.engine", "vllm"),
]

pytestmark = pytest.mark.usefixtures("local_ray")


def examined(folder: Path, *more: str) -> dict[str, Check]:
    return {check.name: check for check in examine(load(CONFIG, ["--run.dir", str(folder), *more]))}


def test_a_machine_that_can_run_the_micro_world_passes_every_check_and_nothing_is_left_behind(tmp_path: Path) -> None:
    found = examined(tmp_path / "run")
    wanted = {
        "python",
        "torch",
        "ray",
        "torch import",
        "gpus",
        "ray cluster",
        "run directory",
        "model",
        "tasks",
        "memory",
    }
    assert wanted <= found.keys()
    assert [check.line for check in found.values() if not check.fine] == []
    assert "1 nodes" in found["ray cluster"].found
    assert "on all" in found["ray cluster"].found
    assert not (tmp_path / "run").exists()


def test_a_config_without_ray_needs_no_cluster(tmp_path: Path) -> None:
    found = examined(tmp_path / "run", "--workers.address", "in-process")
    assert [check.line for check in found.values() if not check.fine] == []
    assert "own process" in found["ray cluster"].found
    assert found["run directory"].advice == ""
    assert found["model"].found.endswith("2.1 MB of safetensors")


def test_the_precision_that_this_machine_would_choose_is_told_and_counted_with(tmp_path: Path) -> None:
    found = examined(tmp_path / "run", "--workers.address", "in-process", "--model.dtype", "auto")
    mine = of_this_process()
    assert found["precision"].line == f"✓ precision: {mine.dtype}: {mine.reason}"
    told = examined(tmp_path / "run", "--workers.address", "in-process", "--model.dtype", mine.dtype)
    assert "precision" not in told
    assert found["memory"].fine


def test_each_trouble_is_one_line_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret")
    (tmp_path / "empty").mkdir()
    with mounted(tmp_path / "disk", "1m") as disk:
        disk.remount("ro")
        found = examined(
            disk.folder / "run",
            *("--model.path", str(tmp_path / "empty"), "--run.rounds", "1"),
            *("--sampling.engine", "endpoint", "--sampling.endpoint", "http://127.0.0.1:9/v1"),
        )
    wrong = {name: check.line for name, check in found.items() if not check.fine}
    assert wrong.keys() == {"run directory", "model", "endpoint"}
    assert "Read-only file system" in wrong["run directory"]
    assert "no model" in wrong["model"]
    assert "does not answer" in wrong["endpoint"]
    assert not any("\n" in line or "a-secret" in line for line in wrong.values())


def test_bits_that_the_base_cannot_be_kept_in_are_a_trouble_of_the_model(tmp_path: Path) -> None:
    in_bits = ("--model.quantization", "int8", "--model.dtype")
    found = examined(tmp_path / "run", *in_bits, "float64")["model"]
    assert not found.fine
    assert "is not made of float64" in found.line
    assert examined(tmp_path / "run", *in_bits, "float32")["model"].fine


def test_more_slots_than_memory_holds_are_no_trouble_for_as_many_are_used_as_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8e9))
    found = examined(tmp_path / "run", "--workers.slots", "4096", "--trial.lora.rank", "4096")["memory"]
    assert found.fine
    assert re.search(r"4096 slots need \d+\.\d GB of 8\.0 GB: some \d{1,3} will be used", found.line)


def test_a_trial_that_no_memory_holds_is_named_with_the_settings_to_lower(tmp_path: Path) -> None:
    huge = ("--model.path", "Qwen/Qwen2.5-72B", "--trial.lora.rank", "8192")
    found = examined(tmp_path / "run", *huge)["memory"]
    assert not found.fine
    assert "a single slot needs" in found.line
    assert "take a smaller model.path, model.dtype or trial.lora.rank" in found.line


CARDS = {
    80: r'takes 145\.4 GB, .* on one GPU, which has 80\.0 GB: .* 40\.0 billion parameters fit; take .* "int8"',
    60: r'60\.0 GB: there, up to 30\.0 billion parameters fit; take model\.quantization = "nf4"',
    24: r"24\.0 GB: there, up to 12\.0 billion parameters fit; take a smaller model\.path",
    180: r"\d+ slots need \d+\.\d GB of 180\.0 GB",
}


@pytest.mark.parametrize("gigabytes", CARDS)
def test_a_base_that_is_larger_than_one_gpu_is_a_trouble_with_the_size_that_fits(
    gigabytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = {"cuda": "12.8", "gpus": [["a larger card", 192 * 10**9], ["a card", gigabytes * 10**9]]}
    monkeypatch.setattr(doctor, "_torch", lambda: cards)
    large = ("--workers.address", "in-process", "--workers.gpus_per_trainer", "1", "--model.path", "Qwen/Qwen2.5-72B")
    found = examined(tmp_path / "run", *large, "--model.dtype", "bfloat16")["memory"]
    assert found.fine == (gigabytes == 180)
    assert re.search(CARDS[gigabytes], found.line)


def test_documents_without_questions_are_fine_and_so_is_vllms_build_for_cpus(tmp_path: Path) -> None:
    for name in ("heron", "ferry"):
        (tmp_path / f"{name}.txt").write_text(f"The {name} comes at dawn.")
    documents = ["--domain.options.train", str(tmp_path / "heron.txt"), "--domain.options.test"]
    config = load(JOBS / "knowledge_small.toml", [*documents, str(tmp_path / "ferry.txt"), *ONE_EACH])
    found = {check.name: check for check in examine(config)}
    # The micro-world's base, asked about a ferry in words that it has never seen, need not answer.
    assert [check.name for check in found.values() if not check.fine] in ([], ["answers"])
    assert "2 have no questions: the base model will write some" in found["tasks"].line
    assert found["vllm"].found


def test_tasks_that_cannot_be_read_are_no_trouble_of_the_memory(tmp_path: Path) -> None:
    nowhere = ["--domain.options.train", str(tmp_path / "nowhere.jsonl"), "--model.path", "microworld"]
    found = {check.name: check for check in examine(load(JOBS / "knowledge.toml", nowhere))}
    assert not found["tasks"].fine
    assert "memory" not in found


def test_a_model_whose_memory_is_not_planned_is_no_trouble(tmp_path: Path) -> None:
    saved(tmp_path / "hybrid", "qwen3_5_text", HYBRIDS["qwen3_5_text"])
    found = examined(tmp_path / "run", "--workers.address", "in-process", "--model.path", str(tmp_path / "hybrid"))
    assert found["memory"].fine
    assert "of a model with layers that carry a state are not worked out" in found["memory"].found


@pytest.mark.parametrize("added", [True, False])
def test_tokens_that_the_embedding_has_no_row_for_are_told_and_are_a_trouble_unless_they_were_added(
    tmp_path: Path, added: bool
) -> None:
    model = shutil.copytree(resolve("microworld"), tmp_path / "model")
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    rows = json.loads((model / "config.json").read_text())["vocab_size"]
    if added:
        kind = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        tokenizer["added_tokens"].append({"id": rows, "content": "zyx", "special": True, **kind})
    else:
        tokenizer["model"]["vocab"] |= {"zyx": rows}
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    found = examined(tmp_path / "run", "--workers.address", "in-process", "--model.path", str(model))["model"]
    assert found.fine == added
    assert f"1 token for which its embedding of {rows} rows has none, such as 'zyx'" in found.line


def test_a_model_that_the_bank_does_not_fit_is_named_before_it_is_loaded(tmp_path: Path) -> None:
    saved(tmp_path / "model", "llama", SHAPE)
    config = tmp_path / "model/config.json"
    config.write_text(config.read_text().replace('"model_type": "llama"', '"model_type": "jamba"'))
    found = examined(tmp_path / "run", "--workers.address", "in-process", "--model.path", str(tmp_path / "model"))
    assert not found["model"].fine
    assert "has Mamba layers that go on from a state by one token alone; give a decoder" in found["model"].line
