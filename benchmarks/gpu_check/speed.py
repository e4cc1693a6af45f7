"""How fast trials are on this device, as published, with PEFT one at a time and in banks; and how fast it writes."""

from __future__ import annotations

import gc
import random
import time
from dataclasses import replace
from functools import cache, cached_property, partial
from statistics import median
from typing import Any

import torch

from benchmarks import machine
from benchmarks.baselines import PADDED, InBank, Material, OneAtATime, Published, Variant
from benchmarks.gpu_check import unpadded
from benchmarks.gpu_check.record import Record
from benchmarks.gpu_check.scale import Scale
from benchmarks.models import build
from benchmarks.trials import Timed, flops, warm
from benchmarks.workload import LORA, OPTIM, drawn
from seal_ray.bank import Bank, Job, SampleSpec, TokenText, ragged

_TOP_P = 0.95
_PADDED = ", padded"
"""Of a bank that pads rows of unlike lengths where there are kernels that need not."""
_FIRST = 10
"""Tokens below are special ones of many models, and no prompt is made of them."""


class Measured:
    """A model, made when the first piece needs it."""

    def __init__(self, name: str, path: str, device: str, scale: Scale) -> None:
        self.name, self.path, self.scale, self.place = name, path, scale, torch.device(device)

    @cached_property
    def built(self) -> tuple[Any, Any]:
        return build(self.name, self.path, self.scale.dtype, str(self.place), PADDED)

    @property
    def vocabulary(self) -> int:
        return int(self.built[0].get_input_embeddings().weight.shape[0])

    @property
    def variants(self) -> list[str]:
        banks = [f"bank-{slots}" for slots in self.scale.slots]
        return ["published", "peft", *banks, f"{banks[-1]}{_PADDED}"]

    def variant(self, name: str) -> Variant:
        model, tokenizer = self.built
        if name == "published":
            return Published(model, self.scale.padded)
        if name == "peft":
            return OneAtATime(model)
        bank = InBank(model, tokenizer, _slots(name))
        if name.endswith(_PADDED):
            bank.bank.patched.ragged = ragged.PADDED
        return bank


def speed(record: Record, scale: Scale, device: str, weights: str) -> None:
    """All pieces of the part: of the weights, where some are given, and of a shape with random ones."""
    given = [("the weights given", weights)] if weights else []
    for name, path in [*given, (scale.shape, "")]:
        measured = Measured(name, path, device, scale)
        for variant in measured.variants:
            record.piece("speed", f"{name}, {variant}", partial(trials, measured, variant), scale)
        record.piece("speed", f"{name}, writing", partial(writing, measured), scale)
        del measured
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
    record.piece("speed", f"{scale.shape}, rows unpadded", partial(unpadded.timed, scale, device), scale)


def trials(measured: Measured, name: str) -> dict[str, Any]:
    """Trials with the published settings in one of the ways, and for a bank what a slot of it takes."""
    scale, work, (model, _) = measured.scale, drawn(), measured.built
    peak = matmul_peak(measured.place, model.dtype, scale.matmul_seconds)
    material = Material.of(work, scale.texts, measured.vocabulary, PADDED)
    variant = measured.variant(name)
    memory = slot_memory(variant, material) if isinstance(variant, InBank) else {}
    warm(variant, material, _slots(name))
    once = [Timed.of(variant, material, measured.place) for _ in range(scale.pairs)]
    seconds = median(each.seconds(work) for each in once)
    figures: dict[str, Any] = {
        "model": measured.name,
        "variant": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trial": f"{work.steps:.1f} steps, {work.tokens:,.0f} tokens, {work.questions} questions ({work.source})",
        "trials_per_s": 1 / seconds,
        "tokens_per_s": work.tokens / seconds,
        "flops_share": flops(model, work) / seconds / peak,
        "matmul_flops_per_s": peak,
        "peak_bytes": max(each.peak_bytes for each in once),
    }
    return figures | memory


def slot_memory(variant: InBank, material: Material) -> dict[str, Any]:
    """What each busy slot adds to the memory that tensors have, and what the formula says. For a bank not used yet."""
    bank, device = variant.bank, variant.bank.patched.device
    texts, before = (TokenText.of((), material.typical),), machine.held_bytes(device)
    for slot in range(variant.slots):
        bank.submit(Job(f"{slot}", texts, LORA, replace(OPTIM, epochs=2), seed=slot))
    bank.step()
    busy, adapters = len(bank.training.running), bank.training._adapters()
    held = machine.held_bytes(device) - before
    del adapters
    while bank.busy:
        bank.step()
    return {"slots": busy, "slot_bytes": held / busy, "slot_bytes_by_formula": bank.memory_per_slot(LORA)}


def writing(measured: Measured) -> dict[str, Any]:
    """Texts written all at once, by a bank as a run's sampler has one."""
    scale, (model, tokenizer) = measured.scale, measured.built
    bank, draw = Bank(model, tokenizer, slots=1, max_length=PADDED), random.Random(0)
    first = min(_FIRST, measured.vocabulary - 1)
    specs = [
        SampleSpec(
            tuple(draw.randrange(first, measured.vocabulary) for _ in range(scale.prompt_tokens)),
            seed,
            top_p=_TOP_P,
            max_new_tokens=scale.new_tokens,
        )
        for seed in range(scale.samples)
    ]
    bank.sample([replace(spec, max_new_tokens=2) for spec in specs])
    seconds, tokens = [], 0
    for _ in range(scale.pairs):
        machine.sync(measured.place)
        started = time.perf_counter()
        tokens = sum(len(text.ids) for text in bank.sample(specs))
        machine.sync(measured.place)
        seconds.append(time.perf_counter() - started)
    middle = median(seconds)
    return {
        "model": measured.name,
        "texts": len(specs),
        "prompt_tokens": scale.prompt_tokens,
        "new_tokens": scale.new_tokens,
        "texts_per_s": len(specs) / middle,
        "tokens_per_s": tokens / middle,
    }


@cache
def matmul_peak(place: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """Measured once in each process, which compares its own figures with it."""
    return machine.matmul_peak(place, dtype, seconds)


def _slots(variant: str) -> int:
    return int(variant.removeprefix("bank-").removesuffix(_PADDED)) if variant.startswith("bank-") else 1
