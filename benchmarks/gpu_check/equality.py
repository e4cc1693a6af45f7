"""Whether the bank is right on this device: held to PEFT alone, to the model alone, and to itself in other company."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch

from benchmarks import company
from benchmarks.baselines import Material
from benchmarks.gpu_check import unpadded
from benchmarks.gpu_check.paper import content
from benchmarks.gpu_check.record import Record
from benchmarks.gpu_check.scale import Scale
from benchmarks.models import twin
from benchmarks.reference import (
    ALL,
    CONFIGS,
    make_model,
    make_prompts,
    make_texts,
    make_tokenizer,
    peft_tensors,
    recipes,
    train_alone,
)
from benchmarks.workload import LORA, drawn
from seal_ray.adapters.lora import Adapter
from seal_ray.bank import Bank, Job, SampleSpec, TokenText
from seal_ray.bank.lora import initial_weights, linear_modules, matching
from seal_ray.config import Config
from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.settling import settle
from seal_ray.types import LoraSpec, OptimSpec

Allowed = dict[str, tuple[float, float]]
TINY: Allowed = {"float64": (1e-9, 1e-7), "float32": (1e-4, 1e-2)}
"""How far a loss may be from PEFT's, in nats, and an adapter, as a share of how far PEFT's has come. Of bfloat16
nothing is asked; how far it goes is shown."""
GIVEN: Allowed = {"float32": (1e-3, 2e-2)}
"""Of many layers, whose rounding adds up, and which AdamW turns into steps: on a processor SmolLM2 is 7e-5 away."""
NATS = 1e-4
"""How far the log-probability of a token in a packed pass may be from the one that the model gives alone."""
_LONGEST = 160
_ANSWER = 16


@dataclass(frozen=True)
class Deviation:
    """How far a bank's trainings are from PEFT's, which is in float32 where the bank is in bfloat16."""

    dtype: str
    steps: int
    loss: float
    """The largest, of all steps."""
    mean_loss: float
    adapter: float
    """The largest, of all adapters, as a share of how far PEFT's has come from where it began."""
    allowed: tuple[float, float] | None
    """Of the largest loss and adapter; None where nothing is asked."""
    right: bool | None
    """Whether both are within that."""


def equality(record: Record, scale: Scale, device: str, config: Config | None) -> None:
    """All pieces of the part; what takes weights only where a config names some."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    record.piece("equality", "a tiny Llama", partial(tiny, scale, device), scale.recipes, scale.most_epochs)
    for family in CONFIGS:
        record.piece("equality", f"packed, {family}", partial(packed, family, device))
    record.piece("equality", "rows unpadded", partial(unpadded.compared, scale, device), scale.shape, scale.slots)
    if config:
        sizes = scale.trainings, scale.texts_each
        record.piece("equality", "the weights given", partial(given, scale, config), *sizes)
        for dtype in ("float32", "bfloat16"):
            asked = partial(in_company, config, dtype, scale.answers)
            record.piece("equality", f"company, {dtype}", asked, scale.answers, content(config))


def tiny(scale: Scale, device: str) -> dict[str, Any]:
    """Trainings that differ in everything a recipe may choose, through three slots."""
    model = make_model(dtype=torch.float64).to(device)
    some = recipes()[: scale.recipes]
    jobs = [replace(job, optim=replace(job.optim, epochs=min(job.optim.epochs, scale.most_epochs))) for job in some]
    return {"trainings": compared(model, make_tokenizer(), jobs, ("float64", "float32", "bfloat16"), TINY)}


def given(scale: Scale, config: Config) -> dict[str, Any]:
    """Trainings as published ones are, of texts of random tokens."""
    spec = replace(ModelSpec.of(config.model), dtype="float32")
    model, tokenizer = load_model(spec), load_tokenizer(spec)
    count, each = scale.trainings, scale.texts_each
    texts = Material.of(drawn(), count * each, model.get_input_embeddings().weight.shape[0], _LONGEST).texts
    jobs = [
        Job(
            f"{number}",
            tuple(TokenText.of((), ids) for ids in texts[number::count]),
            LORA,
            OptimSpec(epochs=2),
            seed=number,
            keep_adapter=True,
        )
        for number in range(count)
    ]
    return {"trainings": compared(model, tokenizer, jobs, ("float32", "bfloat16"), GIVEN)}


def packed(family: str, device: str) -> dict[str, Any]:
    """Texts and trainings of mixed lengths in the same passes, and each alone."""
    model, tokenizer = make_model(family, torch.float32).to(device), make_tokenizer()
    shapes = [(2, ("q_proj", "v_proj")), (8, ALL), (3, ("up_proj", "o_proj"))]
    jobs = [
        Job(
            f"{number}",
            make_texts(4 + number, seed=number, high=10 + 8 * number),
            LoraSpec(rank, 2.0 * rank, targets),
            OptimSpec(1e-2, 3),
            seed=number,
            keep_adapter=True,
        )
        for number, (rank, targets) in enumerate(shapes)
    ]
    (trained,) = compared(model, tokenizer, jobs, ("float32",), TINY)
    bank, texts = Bank(twin(model), tokenizer, slots=3), make_texts(12, seed=9, high=24)
    nats = _largest(
        [
            abs(ours - theirs)
            for text, found in zip(texts, bank.log_probs(texts), strict=True)
            for ours, theirs in zip(found, log_probs_alone(model, text), strict=True)
        ]
    )
    asked = [SampleSpec(prompt, 0, 0.0, max_new_tokens=6) for prompt in make_prompts(6, seed=3)]
    flips = company.compared(bank, asked, "float32")
    return {"trained": trained, "nats": nats, "flips": asdict(flips), "right": trained["right"] and nats <= NATS}


def in_company(config: Config, dtype: str, count: int) -> dict[str, Any]:
    """Questions from the experiment's passages, closed book, each alone and all together."""
    precision: Any = dtype
    config = settle(replace(config, model=replace(config.model, dtype=precision))).config
    config = replace(
        config,
        domain=replace(config.domain, train=0, test=0),
        trial=replace(config.trial, answer_tokens=_ANSWER),
    )
    return asdict(company.flips(config, company.questions(config)[:count]))


@torch.no_grad()
def log_probs_alone(model: Any, text: TokenText) -> list[float]:
    """Of each token but the first, in a pass of its own."""
    ids = torch.tensor([text.ids], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
    return logits.gather(1, ids[0, 1:, None])[:, 0].tolist()  # type: ignore[no-any-return]


def compared(
    model: Any, tokenizer: Any, jobs: Sequence[Job], dtypes: Sequence[str], allowed: Allowed
) -> list[dict[str, Any]]:
    """Trainings side by side in three slots against each alone with PEFT, in every precision."""
    found, alone = [], dict[str, list[tuple[list[float], dict[str, torch.Tensor]]]]()
    start = [initial_weights(matching(linear_modules(model), job.lora.targets), job.lora, job.seed) for job in jobs]
    for dtype in dtypes:
        reference = "float32" if dtype == "bfloat16" else dtype
        if reference not in alone:
            alone[reference] = [_alone(_in(model, reference), job) for job in jobs]
        results = {result.key: result for result in Bank(_in(model, dtype), tokenizer, slots=3).run(jobs)}
        apart, adapters = list[float](), list[float]()
        for job, begun, (losses, theirs) in zip(jobs, start, alone[reference], strict=True):
            result = results[job.key]
            if result.failure or not result.adapter:
                raise RuntimeError(f"a training of the check failed: {result.failure}")
            apart += [abs(a - b) for a, b in zip(result.losses, losses, strict=True)]
            adapters.append(_distance(result.adapter, theirs, begun))
        most, figures = allowed.get(dtype), (_largest(apart), _largest(adapters))
        right = all(figure <= bound for figure, bound in zip(figures, most, strict=True)) if most else None
        found.append(asdict(Deviation(dtype, len(apart), figures[0], fmean(apart), figures[1], most, right)))
    return found


def _largest(distances: Sequence[float]) -> float:
    """No number where one of them is none: Python's own `max` might pass over it."""
    return float(np.max(distances))


def _in(model: Any, dtype: str) -> Any:
    """The model in another precision; where that is its own, on the same weights."""
    wanted = getattr(torch, dtype)
    return twin(model) if model.dtype == wanted else copy.deepcopy(model).to(wanted)


def _alone(model: Any, job: Job) -> tuple[list[float], dict[str, torch.Tensor]]:
    peft, losses = train_alone(model, job)
    return losses, {name: tensor.cpu().double() for name, tensor in peft_tensors(peft).items()}


def _distance(ours: Adapter, theirs: dict[str, torch.Tensor], start: dict[str, torch.Tensor]) -> float:
    """Between two adapters, as a share of how far the second has come from where both began."""
    apart = come = 0.0
    for name, tensor in theirs.items():
        module = name.removeprefix("base_model.model.").partition(".lora_")[0]
        began = start[module].double() if ".lora_A." in name else torch.zeros_like(tensor)
        apart += float((torch.from_numpy(ours.tensors[name]).double() - tensor).square().sum())
        come += float((tensor - began).square().sum())
    return float((apart / come) ** 0.5)
