"""A pass on a device keeps to that device, and waits for nothing there: what a GPU would refuse, or lose time with.

Torch's "meta" device stands for one. Its tensors have no numbers, so whatever asks for some fails; and no operation
may take what lies on it together with what lies with the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seal_ray.bank import Job
from seal_ray.bank.attention import CachedAttention, ContinuedAttention, KVCache, PackedAttention
from seal_ray.bank.layout import Layout, pack
from seal_ray.bank.linear import Adapters, PatchedModel
from seal_ray.bank.objectives import DPO, PolicyGradient
from seal_ray.bank.prepare import prepare
from seal_ray.bank.rows import Row
from seal_ray.bank.slots import Slots
from seal_ray.bank.writing import step_layout
from tests.bank.small import CONFIGS, make_model, recipes
from tests.bank.test_hybrids import HYBRIDS, TARGETS, make_hybrid
from tests.bank.test_objectives import JOBS

COPIES = {"copy_", "_to_copy"}
LENGTH = 8
"""Longer than the windows of the models that have one."""


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices; a single number of the host's may come along, and copies do."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor) and each.dim()]
        if func.overloadpacket.__name__ not in COPIES:
            assert len({each.device for each in given}) <= 1, func
        return func(*args, **(kwargs or {}))


FAMILIES = [*CONFIGS, *HYBRIDS]
"""All but that hybrids are laid out, and carry their states, in ways of their own."""


def on_device(family: str) -> PatchedModel:
    hybrid = family in HYBRIDS  # with experts that are not gone through one by one, which asks who has tokens
    model = make_hybrid(family, torch.float32, "batched_mm") if hybrid else make_model(family, torch.float32)
    return PatchedModel(model.to("meta"))


def train(patched: PatchedModel, jobs: Sequence[Job], steps: int) -> None:
    slots = Slots(patched, max_tokens_per_microbatch=64)
    with OneDevice():
        slots.admit([prepare(job, patched.modules, patched.vocabulary, 64, 256) for job in jobs])
        for _ in range(steps):
            slots.accumulate([run.rows(slot) for slot, run in enumerate(slots.running)])
            slots.take()


def rows_of(*lengths: int) -> list[Row]:
    return [Row(slot, np.arange(length), np.arange(length)) for slot, length in enumerate(lengths)]


@pytest.mark.parametrize("family", FAMILIES)
def test_training_keeps_to_its_device_and_never_waits_for_it(family: str) -> None:
    jobs = recipes()
    if family in HYBRIDS:
        jobs = [replace(job, lora=replace(job.lora, targets=TARGETS[family])) for job in jobs]
    train(on_device(family), jobs, 3)


@pytest.mark.parametrize("objective", [None, DPO(), PolicyGradient()])
def test_so_does_every_objective(objective: Any) -> None:
    jobs = [job for job in JOBS.values() if type(job.objective) is type(objective)]
    assert jobs
    train(on_device("llama"), jobs, 2)


@pytest.mark.parametrize("lengths", [(LENGTH, LENGTH), (LENGTH,), (3, LENGTH, LENGTH + 20)])
@pytest.mark.parametrize("family", FAMILIES)
def test_so_does_answering(family: str, lengths: tuple[int, ...]) -> None:
    patched = on_device(family)
    count, longest = len(lengths), max(lengths)
    cache, plain = KVCache(count, longest + 1), Adapters.none([""] * count)

    def predict(layout: Layout, attention: Any) -> None:
        with torch.no_grad(), OneDevice(), patched.active(layout, attention, plain):
            patched.logits(layout)

    layout = pack(rows_of(*lengths), patched.device, patched.dtype)
    predict(layout, PackedAttention(layout, cache))
    positions_R = torch.tensor(lengths, device=patched.device)
    step = replace(
        step_layout(range(count), count, patched), input_ids=positions_R[None], position_ids=positions_R[None]
    )
    predict(step, CachedAttention(cache, None, positions_R, longest + 1))


@pytest.mark.parametrize("lengths", [(LENGTH, LENGTH), (LENGTH,), (3, LENGTH, LENGTH + 20)])
@pytest.mark.parametrize("family", FAMILIES)
def test_so_do_prompts_that_go_on_from_what_lies_in_the_cache(family: str, lengths: tuple[int, ...]) -> None:
    patched = on_device(family)
    count, start = len(lengths), 5
    cache, plain = KVCache(count, max(lengths) + start), Adapters.none([""] * count)
    with torch.no_grad():
        layout = pack(rows_of(*[start] * count), patched.device, patched.dtype)
        with patched.active(layout, PackedAttention(layout, cache), plain):
            patched.logits(layout)
        everyone = torch.arange(count, device=patched.device)
        before = {layer: states.of(everyone) for layer, states in cache.states.items()}
        rest = pack(rows_of(*lengths), patched.device, patched.dtype)
        with OneDevice():
            rest, attention = ContinuedAttention.after(rest, cache, np.arange(count), np.full(count, start), before)
            with patched.active(rest, attention, plain):
                patched.logits(rest)
