"""What a model's files say of it is said before a run starts: what may be adapted, and whether it can be planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from seal_ray.bank.lora import linear_modules, matching
from seal_ray.config import load
from seal_ray.model.architecture import NoShape, check_targets, model_shape
from seal_ray.model.counting import counter
from seal_ray.plan.predict import Hardware, predict
from seal_ray.types import ALL_LINEAR, DataError, UserError
from tests.bank.test_hybrids import HYBRIDS
from tests.model.test_gguf import knowledge
from tests.runs import CONFIG
from tests.workers.tiny import write_model

EXPERTS = {name: value for name, value in HYBRIDS["qwen3_next"].items() if not name.startswith(("linear", "layer_"))}


def saved(folder: Path, model_type: str, config: dict[str, Any]) -> Any:
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**config))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("model_type", ["qwen3_moe", "qwen2_moe"])
def test_what_peft_takes_for_experts_is_no_target_of_a_model_with_experts(tmp_path: Path, model_type: str) -> None:
    model = saved(tmp_path / "model", model_type, EXPERTS)
    check_targets(knowledge(tmp_path, str(tmp_path / "model"), "--trial.lora.targets", '["q_proj", "v_proj"]'))
    with pytest.raises(
        UserError, match=r"trial.lora.targets: PEFT would not read an adapter on 'gate_proj' of .*; take"
    ):
        check_targets(knowledge(tmp_path, str(tmp_path / "model"), "--trial.lora.targets", '["gate_proj"]'))
    with pytest.raises(DataError, match='no linear module is named "gate_proj"'):
        matching(linear_modules(model), ("gate_proj",))
    names = {module.name.rpartition(".")[2] for module in matching(linear_modules(model), (ALL_LINEAR,))}
    assert names - {"shared_expert_gate"} == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_the_layers_of_a_hybrid_are_targets_by_their_names(tmp_path: Path) -> None:
    saved(tmp_path / "model", "qwen3_5_text", HYBRIDS["qwen3_5_text"])
    check_targets(knowledge(tmp_path, str(tmp_path / "model"), "--trial.lora.targets", '["in_proj_qkv", "out_proj"]'))
    with pytest.raises(UserError, match="is named 'in_proj_qkvz'; did you mean 'in_proj_qkv'"):
        check_targets(knowledge(tmp_path, str(tmp_path / "model"), "--trial.lora.targets", '["in_proj_qkvz"]'))


def test_where_the_name_of_a_mixers_projection_is_not_read_back_it_is_no_target(tmp_path: Path) -> None:
    saved(tmp_path / "model", "falcon_h1", HYBRIDS["falcon_h1"])
    check_targets(knowledge(tmp_path, str(tmp_path / "model"), "--trial.lora.targets", '["in_proj", "o_proj"]'))
    with pytest.raises(UserError, match="PEFT would not read an adapter on 'out_proj'"):
        check_targets(knowledge(tmp_path, str(tmp_path / "model"), "--trial.lora.targets", '["out_proj"]'))


@pytest.mark.parametrize("kind", [*HYBRIDS, "qwen2_moe"])
def test_a_model_that_is_no_dense_decoder_is_not_planned_as_one(tmp_path: Path, kind: str) -> None:
    saved(tmp_path, kind, HYBRIDS.get(kind, EXPERTS))
    with pytest.raises(NoShape, match=r"the size, time and memory of a model with .* are not worked out"):
        model_shape(str(tmp_path))
    with pytest.raises(NoShape):
        predict(load(CONFIG, ["--model.path", str(tmp_path)]), Hardware(1, "h100"))


def test_all_tokens_of_a_text_are_counted_and_no_others_whatever_its_tokenizer_cuts_or_fills_up(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    text, file = "Herons eat fish. " * 10, str(model / "tokenizer.json")
    whole = counter(str(model))[0](text)
    cutting = Tokenizer.from_file(file)
    cutting.enable_truncation(8)
    cutting.enable_padding(length=1000)
    cutting.save(file)
    assert counter(str(model))[0](text) == whole > 8
