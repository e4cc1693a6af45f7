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
from seal_ray.bank.layout import Layout, pack
from seal_ray.bank.linear import Adapters, PatchedModel, Views
from seal_ray.bank.lora import BufferLayout, initial_weights, move
from seal_ray.bank.memory import FIRST, SavedActivations, slots_that_fit, tokens_that_fit
from seal_ray.bank.objectives import by_reference, loss_and_grad
from seal_ray.bank.optim import StepScalars, adamw_step
from seal_ray.bank.prepare import Prepared
from seal_ray.bank.rows import Row, cut
from seal_ray.types import Failure

log = logging.getLogger(__name__)
CHECK_EVERY = 16
"""Steps between looks at the losses: each look waits for the device."""


@dataclass
class Running:
    """A job in a slot."""

    prepared: Prepared
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss_scale: float = loss_scaling.START
    """What its loss is multiplied by in float16, and its gradient divided by afterwards."""

    @property
    def steps(self) -> int:
        return self.prepared.steps

    def rows(self, slot: int) -> list[Row]:
        """The batches of the next step, one of each term of the loss."""
        return [row for term in self.prepared.terms for row in term.rows(slot, self.step)]


@dataclass(frozen=True)
class Trained:
    """A job that has left its slot: its weights, laid out by `buffer_layout`, and what it lost on the way."""

    running: Running
    weight_P: Tensor
    buffer_layout: BufferLayout
    losses: tuple[float, ...]
    failure: Failure | None = None


class OutOfMemory(Exception):
    """A single text of one slot does not fit in memory."""

    def __init__(self, slot: int, tokens: int) -> None:
        super().__init__(f"out of memory on a single text of {tokens} tokens")
        self.slot = slot


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


@dataclass
class Slots:
    """Busy slots are always the first ones, so that a pass reads a contiguous range of every buffer."""

    patched: PatchedModel
    max_tokens_per_microbatch: int
    planned: bool = True
    """False to have the first pass measured, and `max_tokens_per_microbatch` planned from it."""
    running: list[Running] = field(default_factory=list)
    buffer_layout: BufferLayout = field(default_factory=lambda: BufferLayout(0, ()))

    def __post_init__(self) -> None:
        self.dtype = torch.float64 if self.patched.dtype == torch.float64 else torch.float32
        self.buffers_SP = [self._empty(0, 0) for _ in range(4)]
        self.losses_SK = self._empty(0, 0)

    def _empty(self, rows: int, width: int) -> Tensor:
        return torch.zeros(rows, width, dtype=self.dtype, device=self.patched.device)

    def number_bytes(self) -> int:
        """What a slot holds for each number of its adapter: the number, its gradient and two moments.

        A base in half precision adds the copy of the number that it computes with.
        """
        master, computed = self.dtype.itemsize, self.patched.dtype.itemsize
        return 4 * master + (computed if computed != master else 0)

    def room(self, queue: Sequence[Prepared]) -> int:
        """How many of the queue there is memory for; one at least when no slot is busy."""
        busy = len(self.running)
        buffer_layout = self._buffer_layout_of([*(run.prepared for run in self.running), *queue])
        allocated = sum(buffer.nbytes for buffer in self.buffers_SP)
        fitting = slots_that_fit(buffer_layout.size * self.number_bytes(), allocated, self.patched.device)
        return max(fitting - busy, 0 if busy else 1)

    def admit(self, newcomers: Sequence[Prepared]) -> None:
        """Give each newcomer a slot, with a fresh adapter drawn from its seed."""
        first = len(self.running)
        self.running += [Running(prepared) for prepared in newcomers]
        self._fit()
        views = self.buffer_layout.views(self.buffers_SP[0])
        for slot, prepared in enumerate(newcomers, first):
            for buffer in (*self.buffers_SP, self.losses_SK):  # whoever was here before may have gone to NaN
                buffer[slot].zero_()
            rank = prepared.job.lora.rank
            for name, a_RI in initial_weights(prepared.modules, prepared.job.lora, prepared.job.seed).items():
                views[name][0][slot, :rank] = a_RI.to(self.patched.device, self.dtype, non_blocking=True)

    def _fit(self) -> None:
        """Make the buffers as large as the busy slots need, and not much larger."""
        busy = len(self.running)
        buffer_layout = self._buffer_layout_of([run.prepared for run in self.running])
        rows = len(self.losses_SK)
        if buffer_layout != self.buffer_layout or not busy <= rows <= 2 * busy:
            for number, old in enumerate(self.buffers_SP):
                self.buffers_SP[number] = self._empty(busy, buffer_layout.size)
                move(old[:busy], self.buffer_layout, self.buffers_SP[number], buffer_layout)
            self.buffer_layout = buffer_layout
        steps = max((run.steps for run in self.running), default=0)
        if len(self.losses_SK) != len(self.buffers_SP[0]) or self.losses_SK.shape[1] < steps:
            old, self.losses_SK = self.losses_SK[:busy], self._empty(len(self.buffers_SP[0]), steps)
            width = min(old.shape[1], steps)
            self.losses_SK[: len(old), :width] = old[:, :width]

    def _buffer_layout_of(self, jobs: Sequence[Prepared]) -> BufferLayout:
        return BufferLayout.union(
            [(prepared.job.lora.rank, prepared.modules) for prepared in jobs], self.patched.modules
        )

    def step(self) -> list[Trained]:
        """Advance every busy slot by one step; those that are done, or failed, leave their slots."""
        started = time.perf_counter()
        busy = len(self.running)
        rows = [run.rows(slot) for slot, run in enumerate(self.running)]
        try:
            losses_S = self.accumulate(rows)
        except OutOfMemory as error:
            return self._leave({error.slot: Failure("infrastructure", str(error))})
        columns = torch.tensor([run.step for run in self.running]).to(self.patched.device, non_blocking=True)
        self.take()
        self.losses_SK[torch.arange(busy, device=self.patched.device), columns] = losses_S
        counts = [sum(len(row.ids) for row in batch) for batch in rows]
        share = (time.perf_counter() - started) / sum(counts)
        for run, count in zip(self.running, counts, strict=True):
            run.tokens += count
            run.seconds += share * count
        return self._leave(self._faults())

    def take(self) -> None:
        """Every busy slot takes a step along the gradient that lies in its buffer."""
        scalars = [StepScalars.of(run.prepared.job.optim, run.step, run.steps) for run in self.running]
        adamw_step(tuple(buffer[: len(self.running)] for buffer in self.buffers_SP), scalars)
        for run in self.running:
            run.step += 1

    def accumulate(self, rows: list[list[Row]]) -> Tensor:
        """Fill the gradients; the losses.

        In float16 losses are scaled up meanwhile; where a gradient did not fit, the step is done again with less.
        """
        if not loss_scaling.needed(self.patched.dtype):
            return self._fill(rows, None)
        grads_SP = self.buffers_SP[1][: len(rows)]
        while True:
            factors = [
                run.loss_scale / max(row.weight for row in batch) for run, batch in zip(self.running, rows, strict=True)
            ]
            factors_S = torch.tensor(factors, dtype=self.dtype).to(self.patched.device)
            losses_S = self._fill(rows, factors_S)
            # Where the loss is no number either, less would not help.
            fit = (grads_SP.isfinite().all(1) | ~losses_S.isfinite()).tolist()
            late = [
                run
                for run, fits in zip(self.running, fit, strict=True)
                if not fits and run.loss_scale > loss_scaling.LEAST
            ]
            if not late:
                grads_SP.div_(factors_S[:, None])
                return losses_S
            for run in late:
                run.loss_scale *= loss_scaling.LESS

    def _fill(self, rows: list[list[Row]], factors_S: Tensor | None) -> Tensor:
        """Add up the gradients of these rows, scaled by these factors, and return their losses.

        A pass that runs out of memory is halved, and so is every pass after it. A single text that is too long for a
        pass gets one all the same, whose layers are worked out twice to keep less.
        """
        adapters = self._adapters()
        grads = self.buffer_layout.views(self.buffers_SP[1])
        kinds = by_reference(chain.from_iterable(rows))
        while True:
            self.buffers_SP[1].zero_()
            losses_S = torch.zeros(len(rows), dtype=self.dtype, device=self.patched.device)
            budget = self.max_tokens_per_microbatch if self.planned else min(FIRST, self.max_tokens_per_microbatch)
            batch: list[Row] = []
            try:
                for batch in chain.from_iterable(cut(kind, budget) for kind in kinds):
                    self._pass(batch, adapters, grads, losses_S, factors_S)
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
        jobs = [run.prepared.job for run in self.running]
        flat_SP = self.buffers_SP[0].to(self.patched.dtype)
        return Adapters(self.buffer_layout.views(flat_SP), [job.lora.scale for job in jobs], [job.base for job in jobs])

    def _pass(
        self, rows: list[Row], adapters: Adapters, grads: Views, losses_S: Tensor, factors_S: Tensor | None
    ) -> None:
        """One pass over rows that all need a reference, or none of which does."""
        layout = pack(rows, self.patched.device, self.dtype, share=not self.patched.recurrent)
        too_long = layout.tokens.tokens > self.max_tokens_per_microbatch
        slot_L = layout.head_slot + layout.first
        weights_L = layout.weights if factors_S is None else layout.weights * factors_S[slot_L]
        needed = rows[0].objective is not None and rows[0].objective.needs_reference
        reference_LV = self._without_adapters(layout, adapters) if needed else None
        saved = None if self.planned else SavedActivations(self.patched.model)
        with torch.enable_grad(), self.patched.active(layout, PackedAttention(layout), adapters, grads, too_long):
            with saved or nullcontext():
                logits_LV = self.patched.logits(layout)
            losses_L, grad_LV = loss_and_grad(rows, layout.targets, weights_L, logits_LV.detach(), reference_LV)
            logits_LV.backward(grad_LV)
        losses_S.index_add_(0, slot_L, losses_L * layout.weights)
        if saved:
            kept = saved.bytes + logits_LV.nbytes
            del logits_LV, grad_LV
            self._plan_tokens(kept, layout.tokens.tokens)

    @torch.no_grad()
    def _without_adapters(self, layout: Layout, adapters: Adapters) -> Tensor:
        with self.patched.active(layout, PackedAttention(layout), replace(adapters, weights={})):
            return self.patched.logits(layout)

    def _plan_tokens(self, kept: int, tokens: int) -> None:
        fitting = tokens_that_fit(kept, tokens, self.patched.device)
        self.max_tokens_per_microbatch, self.planned = min(self.max_tokens_per_microbatch, fitting), True
        log.info(
            "a trained token keeps %d KiB: %d tokens at a time", kept // tokens >> 10, self.max_tokens_per_microbatch
        )

    def _faults(self) -> dict[int, Failure]:
        """Slots whose loss is no number. Looked at now and then, and always before a slot is left."""
        late = [slot for slot, run in enumerate(self.running) if run.step == run.steps or run.step % CHECK_EVERY == 0]
        if not late:
            return {}
        finite = (self.losses_SK[late].isfinite().all(1) & self.buffers_SP[0][late].isfinite().all(1)).tolist()
        return {slot: Failure("data", self._fault(slot)) for slot, fine in zip(late, finite, strict=True) if not fine}

    def _fault(self, slot: int) -> str:
        losses = self.losses_SK[slot, : self.running[slot].step].tolist()
        wrong = next((step for step, loss in enumerate(losses) if not math.isfinite(loss)), None)
        return f"the loss is not finite at step {wrong}" if wrong is not None else "the weights are not finite"

    def _leave(self, faults: dict[int, Failure]) -> list[Trained]:
        """Empty the slots that are done or failed, and close the gaps with the last ones."""
        gone = [slot for slot, run in enumerate(self.running) if slot in faults or run.step == run.steps]
        left = []
        for slot in gone:
            run = self.running[slot]
            losses = tuple(self.losses_SK[slot, : run.step].tolist())
            left.append(Trained(run, self.buffers_SP[0][slot].clone(), self.buffer_layout, losses, faults.get(slot)))
        for slot in reversed(gone):
            last = len(self.running) - 1
            if slot != last:
                for buffer in (*self.buffers_SP, self.losses_SK):
                    buffer[slot] = buffer[last]
                self.running[slot] = self.running[last]
            self.running.pop()
        return left
