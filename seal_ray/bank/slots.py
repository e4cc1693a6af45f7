"""The slots in training: one step advances every one of them by its own next batch."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain

import torch
from torch import Tensor

from seal_ray.bank import loss_scaling
from seal_ray.bank.attention import PackedAttention
from seal_ray.bank.cohort import Cohort, Running, read_losses
from seal_ray.bank.device import sent
from seal_ray.bank.job import Job
from seal_ray.bank.layout import pack
from seal_ray.bank.linear import Adapters, Block, PatchedModel
from seal_ray.bank.memory import FIRST, SavedActivations, is_out_of_memory, slots_that_fit, tokens_that_fit
from seal_ray.bank.objectives import by_reference, loss_and_grad
from seal_ray.bank.optim import StepScalars, adamw_step
from seal_ray.bank.prefill import read
from seal_ray.bank.prepare import Prepared
from seal_ray.bank.rows import Row, cut
from seal_ray.types import Failure

log = logging.getLogger(__name__)
CHECK_EVERY = 16
"""Steps between looks at the losses: each look waits for the device."""


@dataclass(frozen=True)
class Trained:
    """A job that has left its slot, with its weights."""

    running: Running
    weight_P: Tensor
    failure: Failure | None = None

    @property
    def prepared(self) -> Prepared:
        return self.running.prepared

    @property
    def job(self) -> Job:
        return self.prepared.job


class OutOfMemory(Exception):
    """A single text of one slot does not fit in memory."""

    def __init__(self, slot: int, tokens: int) -> None:
        super().__init__(f"out of memory on a single text of {tokens} tokens")
        self.slot = slot


@dataclass
class Slots:
    """Slots are numbered cohort by cohort, so that a pass reads a range of the rows of each cohort."""

    patched: PatchedModel
    max_tokens_per_microbatch: int
    planned: bool = True
    """False to have the first pass measured, and `max_tokens_per_microbatch` planned from it."""
    cohorts: list[Cohort] = field(default_factory=list)
    """Of every shape of adapter that is in training, the slots with it."""

    def __post_init__(self) -> None:
        self.dtype = torch.float64 if self.patched.dtype == torch.float64 else torch.float32

    @property
    def running(self) -> list[Running]:
        """What each slot is at."""
        return [run for cohort in self.cohorts for run in cohort.running]

    def number_bytes(self) -> int:
        """What a slot holds for each number of its adapter: the number, its gradient and two moments.

        A base in half precision adds the copy of the number that it computes with.
        """
        master, computed = self.dtype.itemsize, self.patched.dtype.itemsize
        return 4 * master + (computed if computed != master else 0)

    def room(self, queue: Sequence[Prepared]) -> int:
        """How many of the queue there is memory for, its first ones first; one at least when no slot is busy."""
        busy = [run.prepared for run in self.running]
        sizes = [prepared.buffer_layout.size * self.number_bytes() for prepared in (*busy, *queue)]
        fitting = slots_that_fit(sizes, sum(cohort.bytes for cohort in self.cohorts), self.patched.device)
        return max(fitting - len(busy), 0 if busy else 1)

    def admit(self, newcomers: Sequence[Prepared]) -> None:
        """Give each newcomer a slot, with a fresh adapter drawn from its seed."""
        joining = {cohort.buffer_layout: list[Prepared]() for cohort in self.cohorts}
        for prepared in newcomers:
            joining.setdefault(prepared.buffer_layout, []).append(prepared)
        for buffer_layout in [*joining][len(self.cohorts) :]:
            self.cohorts.append(Cohort(buffer_layout, self.dtype, self.patched.device))
        for cohort in self.cohorts:
            cohort.admit(joining[cohort.buffer_layout])

    def step(self) -> list[Trained]:
        """Advance every busy slot by one step; those that are done, or failed, leave their slots."""
        started = time.perf_counter()
        rows = [run.rows(slot) for slot, run in enumerate(self.running)]
        try:
            losses_S = self.accumulate(rows)
        except OutOfMemory as error:
            return self._leave({error.slot: Failure("infrastructure", str(error))})
        self.take()
        counts = [sum(len(row.ids) for row in batch) for batch in rows]
        share = (time.perf_counter() - started) / sum(counts)
        for run, count, loss in zip(self.running, counts, losses_S.unbind(), strict=True):
            run.tokens += count
            run.seconds += share * count
            run.unread.append(loss)
        return self._leave(self._faults())

    def take(self) -> None:
        """Every busy slot takes a step along the gradient that lies in its buffer."""
        for cohort in self.cohorts:
            scalars = [StepScalars.of(run.prepared.job.optim, run.step, run.steps) for run in cohort.running]
            adamw_step(cohort.buffers_SP, scalars)
        for run in self.running:
            run.step += 1

    def accumulate(self, rows: list[list[Row]]) -> Tensor:
        """Fill the gradients; the losses.

        In float16 losses are scaled up meanwhile; where a gradient did not fit, the step is done again with less.
        """
        if not loss_scaling.needed(self.patched.dtype):
            return self._fill(rows, None)
        grads = [grad_P for cohort in self.cohorts for grad_P in cohort.buffers_SP[1]]
        while True:
            factors = [
                run.loss_scale / (max(abs(row.weight) for row in batch) or 1.0)
                for run, batch in zip(self.running, rows, strict=True)
            ]
            factors_S = sent(torch.tensor(factors, dtype=self.dtype), self.patched.device)
            losses_S = self._fill(rows, factors_S)
            # Where the loss is no number either, less would not help.
            fit = (_finite(grads) | ~losses_S.isfinite()).tolist()
            late = [
                run
                for run, fits in zip(self.running, fit, strict=True)
                if not fits and run.loss_scale > loss_scaling.LEAST
            ]
            if not late:
                for grad_P, factor in zip(grads, factors_S, strict=True):
                    grad_P.div_(factor)
                return losses_S
            for run in late:
                run.loss_scale *= loss_scaling.LESS

    def _fill(self, rows: list[list[Row]], factors_S: Tensor | None) -> Tensor:
        """Add up the gradients of these rows, scaled by these factors, and return their losses.

        A pass that runs out of memory is halved, and so is every pass after it. A single text that is too long for a
        pass gets one all the same, whose layers are worked out twice to keep less.
        """
        adapters = self._adapters()
        kinds = by_reference(chain.from_iterable(rows))
        while True:
            for cohort in self.cohorts:
                cohort.buffers_SP[1].zero_()
            losses_S = torch.zeros(len(rows), dtype=self.dtype, device=self.patched.device)
            budget = self.max_tokens_per_microbatch if self.planned else min(FIRST, self.max_tokens_per_microbatch)
            batch: list[Row] = []
            try:
                for batch in chain.from_iterable(cut(kind, budget) for kind in kinds):
                    self._pass(batch, adapters, losses_S, factors_S)
                return losses_S
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                tokens = sum(len(row.ids) for row in batch)
                if tokens > self.max_tokens_per_microbatch:
                    raise OutOfMemory(batch[0].slot, tokens) from error
                self.max_tokens_per_microbatch = max(1, tokens // 2)
                log.warning(
                    "out of memory on %d tokens; from now on %d at a time", tokens, self.max_tokens_per_microbatch
                )
            if self.patched.device.type == "cuda":
                torch.cuda.empty_cache()

    def _adapters(self) -> Adapters:
        jobs, blocks, first = [run.prepared.job for run in self.running], list[Block](), 0
        for cohort in self.cohorts:
            blocks.append(cohort.block(first, self.patched.dtype))
            first = blocks[-1].slots.stop
        return Adapters(blocks, [job.lora.scale for job in jobs], [job.base for job in jobs])

    def _pass(self, rows: list[Row], adapters: Adapters, losses_S: Tensor, factors_S: Tensor | None) -> None:
        """One pass over rows that all need a reference, or none of which does."""
        share = not self.patched.recurrent
        layout = pack(rows, self.patched.device, self.dtype, share, self.patched.ragged)
        too_long = layout.tokens.tokens > self.max_tokens_per_microbatch
        slot_L = layout.head_slot + layout.first
        weights_L = layout.weights if factors_S is None else layout.weights * factors_S[slot_L]
        needed = rows[0].objective is not None and rows[0].objective.needs_reference
        reference_LV = read(self.patched, replace(adapters, blocks=()), layout) if needed else None
        saved = None if self.planned else SavedActivations(self.patched.model)
        with torch.enable_grad(), self.patched.active(layout, PackedAttention(layout), adapters, too_long):
            with saved or nullcontext():
                logits_LV = self.patched.logits(layout)
            losses_L, grad_LV = loss_and_grad(rows, layout.targets, weights_L, logits_LV.detach(), reference_LV)
            logits_LV.backward(grad_LV)
        losses_S.index_add_(0, slot_L, losses_L * layout.weights)
        if saved:
            kept = saved.bytes + logits_LV.nbytes
            del logits_LV, grad_LV
            self._plan_tokens(kept, layout.tokens.tokens)

    def _plan_tokens(self, kept: int, tokens: int) -> None:
        fitting = tokens_that_fit(kept, tokens, self.patched.device)
        self.max_tokens_per_microbatch, self.planned = min(self.max_tokens_per_microbatch, fitting), True
        log.info(
            "a trained token keeps %d KiB: %d tokens at a time", kept // tokens >> 10, self.max_tokens_per_microbatch
        )

    def _faults(self) -> dict[int, Failure]:
        """Slots whose loss is no number. Looked at now and then, and always before a slot is left."""
        late = {n: run for n, run in enumerate(self.running) if run.step == run.steps or run.step % CHECK_EVERY == 0}
        if not late:
            return {}
        read_losses([*late.values()])
        weights = [weight_P for cohort in self.cohorts for weight_P in cohort.buffers_SP[0]]
        finite = _finite([weights[slot] for slot in late]).tolist()
        found = {slot: _fault(run, fine) for (slot, run), fine in zip(late.items(), finite, strict=True)}
        return {slot: Failure("data", fault) for slot, fault in found.items() if fault}

    def _leave(self, faults: dict[int, Failure]) -> list[Trained]:
        """Empty the slots that are done or failed."""
        left, first = list[Trained](), 0
        for cohort in self.cohorts:
            busy, gone = len(cohort.running), list[int]()
            for slot, (run, weight_P) in enumerate(zip(cohort.running, cohort.buffers_SP[0], strict=True)):
                failure = faults.get(first + slot)
                if failure or run.step == run.steps:
                    gone.append(slot)
                    left.append(Trained(run, weight_P.clone(), failure))
            cohort.leave(gone)
            first += busy
        self.cohorts = [cohort for cohort in self.cohorts if cohort.running]
        read_losses([trained.running for trained in left])
        return left


def _finite(parts: Sequence[Tensor]) -> Tensor:
    """Whether each of these holds numbers alone."""
    return torch.stack([part.isfinite().all() for part in parts])


def _fault(run: Running, finite: bool) -> str:
    """What is wrong with a job whose weights are finite or not; empty where nothing is."""
    wrong = next((step for step, loss in enumerate(run.losses) if not math.isfinite(loss)), None)
    if wrong is not None:
        return f"the loss is not finite at step {wrong}"
    return "" if finite else "the weights are not finite"
