"""What trackers are told of a run beside its figures: its settings, and nothing that is secret or that models wrote."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from seal_ray.config import load
from seal_ray.loop.run import run
from seal_ray.observe.trackers import parameters
from seal_ray.record.journal import Journal
from seal_ray.record.rows import SelfEditRow
from seal_ray.record.storage import Store
from tests.observe.readers import INSTALLED, environment
from tests.runs import CONFIG, small_run


class Endpoint:
    """A grader of one's own, with what a server of one's own may want."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
        headers: dict[str, str]
        words: str


WRITES = {
    "jsonl": "metrics.jsonl",
    "mlflow": "mlflow.db",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}
"""Where each tracker writes here."""
OURS = ("journal", "config.json", "adapters", "environments.json", "manifest.json")
"""What the run itself writes in its directory."""


def test_every_setting_is_told_with_the_options_that_were_left_out() -> None:
    found = parameters(load(CONFIG, ["--run.seed", "7", "--trial.lora.rank", "3"]))
    assert {found["run.seed"], found["trial.lora.rank"], found["domain.name"]} == {"7", "3", "microworld"}
    assert any(name.startswith("domain.options.") for name in found)


def test_keys_and_what_an_address_carries_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    endpoint = ["--sampling.endpoint", "https://me:hun@ter3@host/v1?token=hunter4#hunter5"]
    slip = ["--sampling.endpoint_model", "hunter2"]  # the key, given where another thing belongs
    found = parameters(load(CONFIG, [*endpoint, *slip]))
    assert found["sampling.endpoint"] == "https://host/v1?"
    assert found["sampling.key_env"] == "OPENAI_API_KEY"
    assert not [value for value in found.values() if "hunter" in value or "ter3" in value]
    assert "trial.answer_tokens" in found, "what is counted in tokens is no secret"


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "apikey", "token", "hf-token", "Authorization", "password", "client_secret"),
        *("accessToken", "secretKey", "passwd", "passphrase", "bearer", "cookie", "api_keys", "AUTH"),
    ],
)
def test_a_setting_that_is_called_a_secret_is_left_out(name: str) -> None:
    options = json.dumps({"headers": {name: "hunter2"}, "words": "key"})
    own = ["--grading.name", "tests.observe.test_parameters:Endpoint", "--grading.options", options]
    found = parameters(load(CONFIG, own))
    assert found["grading.options.words"] == "key"
    assert f"grading.options.headers.{name}" not in found


@pytest.mark.slow
def test_no_tracker_is_left_a_key_or_what_a_model_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that trackers write anywhere, W&B's logs and MLflow's database among it."""
    for name, value in environment(tmp_path).items() - os.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2hunter2")
    monkeypatch.setattr("sys.argv", ["seal-ray", "run", "--grading.options.api_key", "hunter3hunter3"])
    folder = tmp_path / "run"
    small = ("--workers.address", "in-process", "--run.rounds", "0", "--run.name", "written once")
    run(small_run(folder, *small, "--run.observers", json.dumps(INSTALLED)))
    texts = [row.completion for row in Journal(Store(str(folder))).read(SelfEditRow) if len(row.completion) > 20]
    assert texts
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    written = [path.read_bytes() for path in files if not any(path.is_relative_to(folder / name) for name in OURS)]
    for place in map(WRITES.get, INSTALLED):
        told = b"".join(path.read_bytes() for path in files if place in path.relative_to(tmp_path).parts)
        assert b"tokens/trained" in told or place != "metrics.jsonl"
        assert b"written once" in told or place == "metrics.jsonl"  # the settings lie beside it
        assert b"trial.optim.epochs" in told or place == "metrics.jsonl"
    for secret in ("hunter2hunter2", "hunter3hunter3", *texts):
        assert not [data for data in written if secret.encode() in data]
