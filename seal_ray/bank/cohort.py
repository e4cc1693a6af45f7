"""Slots in training whose adapters have one shape: what each of them is at, and the buffers its numbers lie in.

Letters: S busy slots, P numbers per slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seal_ray.bank import loss_scaling
from seal_ray.bank.linear import Block
from seal_ray.bank.lora import BufferLayout, initial_weights
from seal_ray.bank.prepare import Prepared
from seal_ray.bank.rows import Row


@dataclass
class Running:
    """A job in a slot."""

    prepared: Prepared
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss_scale: float = loss_scaling.START
    """What its loss is multiplied by in float16, and its gradient divided by afterwards."""
    losses: list[float] = field(default_factory=list)
    """One a step, up to the last look at them."""
    unread: list[Tensor] = field(default_factory=list)
    """Those since, on the device."""

    @property
    def steps(self) -> int:
        return self.prepared.steps

    def rows(self, slot: int) -> list[Row]:
        """The batches of the next step, one of each term of the loss."""
        return [row for term in self.prepared.terms for row in term.rows(slot, self.step)]


def read_losses(runs: Sequence[Running]) -> None:
    """Fetch the losses of these from the device, which is waited for once."""
    unread = [loss for run in runs for loss in run.unread]
    found = iter(torch.stack(unread).tolist() if unread else ())
    for run in runs:
        run.losses += [next(found) for _ in run.unread]
        run.unread.clear()


class Cohort:
    """Each slot has a row of every buffer; the busy ones are the first, so that a pass reads a range of rows."""

    def __init__(self, buffer_layout: BufferLayout, dtype: torch.dtype, device: torch.device) -> None:
        self.buffer_layout = buffer_layout
        self.running: list[Running] = []
        self.held_SP = [torch.zeros(0, buffer_layout.size, dtype=dtype, device=device) for _ in range(4)]
        """The buffers with the rows of slots that were left since somebody was admitted."""

    @property
    def buffers_SP(self) -> tuple[Tensor, ...]:
        """Weights, gradients, first and second moments."""
        return tuple(held_SP[: len(self.running)] for held_SP in self.held_SP)

    @property
    def bytes(self) -> int:
        """Of memory that is held."""
        return sum(held_SP.nbytes for held_SP in self.held_SP)

    def admit(self, newcomers: Sequence[Prepared]) -> None:
        """Hold a row for everybody and no more; newcomers' have fresh adapters drawn from their seeds."""
        first = len(self.running)
        rows = first + len(newcomers)
        for number, held_SP in enumerate(self.held_SP):
            if len(held_SP) != rows:
                self.held_SP[number] = held_SP.new_empty(rows, self.buffer_layout.size)
                self.held_SP[number][:first] = held_SP[:first]
            self.held_SP[number][first:].zero_()  # whoever was here before may have gone to NaN
        self.running += map(Running, newcomers)
        views, modules = self.buffer_layout.views(self.held_SP[0]), self.buffer_layout.modules
        for slot, prepared in enumerate(newcomers, first):
            for name, a_RI in initial_weights(modules, prepared.job.lora, prepared.job.seed).items():
                views[name][0][slot].copy_(a_RI, non_blocking=True)

    def block(self, first: int, dtype: torch.dtype) -> Block:
        """What a pass reads and adds to, where these are the slots from `first` on."""
        weight_SP, grad_SP, *_ = self.buffers_SP
        views = self.buffer_layout.views
        return Block(slice(first, first + len(self.running)), views(weight_SP.to(dtype)), views(grad_SP))

    def leave(self, gone: Sequence[int]) -> None:
        """Empty these slots, named in their order, and close the gaps with the last ones."""
        for slot in reversed(gone):
            last = len(self.running) - 1
            if slot != last:
                for held_SP in self.held_SP:
                    held_SP[slot] = held_SP[last]
                self.running[slot] = self.running[last]
            self.running.pop()
