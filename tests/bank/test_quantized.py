"""A base in eight or four bits: the bank computes with it as with the matrices that it stands for."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from seal_ray.bank import Bank, Job, JobResult
from seal_ray.bank.memory import SavedActivations
from seal_ray.config import load
from seal_ray.model.loading import ModelSpec, load_model
from seal_ray.model.locate import resolve
from seal_ray.model.quantization import Quantization, bytes_of, check_quantization
from seal_ray.model.quantized import QuantizedLinear, quantize
from seal_ray.types import LoraSpec, OptimSpec, UserError
from tests.bank.small import ALL, make_model, make_texts, make_tokenizer
from tests.runs import CONFIG

KINDS: tuple[Quantization, ...] = ("int8", "nf4")
MOST = {"int8": 0.015, "nf4": 0.11}
"""How far a matrix may be from the one it was made of, of its own length."""


def layers(model: Any) -> dict[str, QuantizedLinear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, QuantizedLinear)}


def written_out(model: Any) -> Any:
    """The same base with the matrices that its quantized layers stand for."""
    plain = copy.deepcopy(model)
    for name, layer in layers(plain).items():
        linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        linear.weight, linear.bias = nn.Parameter(layer.weight), layer.bias
        parent, _, own = name.rpartition(".")
        setattr(plain.get_submodule(parent), own, linear)
    return plain.requires_grad_(False)


def done(model: Any, lora: LoraSpec) -> list[JobResult]:
    bank = Bank(model, make_tokenizer(), slots=2)
    optim = OptimSpec(1e-2, epochs=3, batch_size=2)
    jobs = [
        Job(f"{n}", make_texts(3, seed=n), lora, optim, seed=n, prompts=((5, 6, 7),), max_new_tokens=4)
        for n in range(3)
    ]
    return sorted(bank.run(jobs), key=lambda result: result.key)


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ALL])
@pytest.mark.parametrize("kind", KINDS)
def test_trials_come_to_what_they_do_on_the_matrices_that_it_stands_for(
    kind: Quantization, targets: tuple[str, ...]
) -> None:
    model = make_model(dtype=torch.float32)
    quantize(model, kind)
    plain, lora = written_out(model), LoraSpec(4, 8.0, targets)
    for ours, theirs in zip(done(model, lora), done(plain, lora), strict=True):
        assert ours.failure is None
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-5)
        assert ours.answers == theirs.answers


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_stays_whole_and_all_else_is_near_what_it_was(kind: Quantization) -> None:
    model = make_model(dtype=torch.float32)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    head = model.get_output_embeddings()
    quantize(model, kind)
    assert model.get_output_embeddings() is head
    assert layers(model)
    for name, layer in layers(model).items():
        weight = before[f"{name}.weight"]
        assert (layer.weight - weight).norm() <= MOST[kind] * weight.norm(), name


@pytest.mark.parametrize("kind", KINDS)
def test_its_layers_take_the_bytes_that_a_plan_says(kind: Quantization) -> None:
    linear = nn.Linear(512, 768, bias=False)
    layer = QuantizedLinear(linear, kind)
    assert layer.packed.nbytes + layer.scales.nbytes == bytes_of(kind, 512 * 768, 4)
    assert bytes_of("none", 512 * 768, 2) == 2 * 512 * 768


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_keeps_no_matrix_for_its_backward_half(kind: Quantization) -> None:
    layer = QuantizedLinear(nn.Linear(512, 512), kind)
    stack = nn.Sequential(layer, nn.Identity())
    x = torch.randn(3, 512, requires_grad=True)
    kept = SavedActivations(stack)
    with kept:
        layer(x).sum().backward()
    assert kept.bytes < 512 * 512
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(3, 512))


def test_a_worker_loads_the_base_that_the_config_asks_for() -> None:
    config = load(CONFIG, ["--model.quantization", "int8", "--model.dtype", "float32"])
    spec = ModelSpec.of(config.model)
    assert layers(load_model(spec))
    assert not layers(load_model(replace(spec, quantization="none", path=resolve(config.model.path))))


@pytest.mark.parametrize(
    ("also", "said"),
    [
        (("--model.dtype", "float64"), "is not made of float64"),
        (
            ("--model.dtype", "float32", "--evaluation.joint", "true", "--evaluation.full_finetune", "true"),
            "trains all weights",
        ),
        (("--model.dtype", "float32", "--trial.eval_engine", "vllm"), 'set trial.eval_engine = "bank"'),
    ],
)
def test_what_a_quantized_base_cannot_do_is_refused_before_anything_starts(also: tuple[str, ...], said: str) -> None:
    check_quantization(load(CONFIG, also))
    with pytest.raises(UserError, match=said):
        check_quantization(load(CONFIG, ["--model.quantization", "nf4", *also]))


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seal_ray.model.quantization.find_spec", lambda name: None)
    config = load(CONFIG, ["--model.quantization", "int8", "--model.dtype", "float32"])
    with pytest.raises(UserError, match=r"pip install 'seal-ray\[quantized\]'"):
        check_quantization(config)
    with pytest.raises(UserError, match=r"pip install 'seal-ray\[quantized\]'"):  # whoever serves a run from elsewhere
        load_model(ModelSpec.of(config.model))
