"""Settings that fit the model: those measured with the model most like it, under what the job says itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.config import Config, DomainSection, Model, TrialSection, load
from seal_ray.loop.preflight import prepare
from seal_ray.settling import settle
from seal_ray.settling.presets import presets
from seal_ray.types import LoraSpec, UserError
from tests.settling.models import LINEARS, model
from tests.settling.test_chats import config

SMALL = presets()["smollm2-135m-instruct"]
AUTO = ("--trial.preset", "auto")
JOBS = Path(__file__).parents[2] / "jobs"


def test_without_a_preset_nothing_changes(tmp_path: Path) -> None:
    found = settle(config(tmp_path, model(tmp_path / "model"))).config
    assert found.trial == TrialSection()


def test_a_small_instruct_model_gets_what_was_measured_with_one(tmp_path: Path) -> None:
    found = settle(config(tmp_path, model(tmp_path / "model"), *AUTO))
    trial = found.config.trial
    assert (trial.lora.targets, trial.optim.lr, trial.optim.epochs, trial.optim.batch_size) == (LINEARS, 1e-3, 20, 4)
    assert found.config.sampling.temperature == 0.7
    assert "measured" in found.said[0]


def test_a_base_of_seven_billion_gets_the_papers(tmp_path: Path) -> None:
    found = settle(config(tmp_path, model(tmp_path / "model", None, None, **BILLIONS), *AUTO)).config
    paper = load(JOBS / "knowledge.toml")
    assert (found.trial.lora, found.trial.optim) == (paper.trial.lora, paper.trial.optim)
    assert found.domain.options["style"] == paper.domain.options["style"]
    assert found.sampling.temperature == paper.sampling.temperature


BILLIONS = {
    "num_hidden_layers": 28,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152_064,
    "tie_word_embeddings": False,
}


def test_what_the_job_says_wins_even_where_it_is_the_default(tmp_path: Path) -> None:
    said = ("--trial.optim.epochs", "10", "--sampling.temperature", "1.0", "--domain.options.style", "rewrite")
    found = settle(config(tmp_path, model(tmp_path / "model"), *AUTO, *said)).config
    assert (found.trial.optim.epochs, found.sampling.temperature, found.trial.optim.batch_size) == (10, 1.0, 4)
    assert found.domain.options["style"] == "rewrite"


def test_in_python_what_is_not_at_its_default_wins_and_what_is_named(tmp_path: Path) -> None:
    trial = TrialSection(preset="auto", preset_leaves=("trial.optim.epochs",), lora=LoraSpec(rank=8))
    made = Config(
        model=Model(path=str(model(tmp_path / "model"))),
        domain=DomainSection(name="knowledge", options={"train": "x"}),
        trial=trial,
    )
    found = settle(made).config.trial
    assert (found.lora.rank, found.optim.epochs, found.optim.batch_size, found.lora.targets) == (8, 10, 4, LINEARS)


def test_a_preset_is_taken_by_name(tmp_path: Path) -> None:
    base = model(tmp_path / "model", num_hidden_layers=1, hidden_size=16, vocab_size=64)
    with pytest.raises(UserError, match=r"none was measured for a model of .* million parameters; name one \(smollm2"):
        settle(config(tmp_path, base, *AUTO))
    with pytest.raises(
        UserError, match=r"none was measured for such a model \(.* with experts are .*\); name one \(sm"
    ):
        settle(config(tmp_path, model(tmp_path / "experts", num_experts=8), *AUTO))
    found = settle(config(tmp_path, base, "--trial.preset", SMALL.name)).config
    assert found.trial.optim.epochs == 20
    with pytest.raises(UserError, match=r"unknown trial.preset 'papr'; did you mean 'paper'"):
        settle(config(tmp_path, base, "--trial.preset", "papr"))


def test_the_run_is_that_of_the_same_settings_written_out(tmp_path: Path) -> None:
    base = model(tmp_path / "model")
    ready = prepare(config(tmp_path, base, *AUTO))
    written = [word for key, value in SMALL.settings.items() for word in (f"--{key}", str(value).replace("'", '"'))]
    assert prepare(config(tmp_path, base, *written)).identity == ready.identity
    assert prepare(ready.config).identity == ready.identity  # as `resume` gives it
    assert ready.identity.settings["trial"]["preset"] == "none"


def test_every_preset_says_where_it_is_from_and_fits_its_own_model() -> None:
    for preset in presets().values():
        assert preset.source.partition(":")[0] in ("measured", "published")
        assert min(presets().values(), key=lambda p: p.distance(preset.parameters, preset.instruct)) is preset
