"""One training done in several places: each works out the gradient of its part of a batch, all take the same step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from seal_ray.adapters.lora import Adapter
from seal_ray.bank.bank import Bank
from seal_ray.bank.job import Job
from seal_ray.bank.lora import to_adapter
from seal_ray.bank.prepare import prepare
from seal_ray.bank.rows import examples_of
from seal_ray.bank.slots import Slots

State = tuple[int, list[np.ndarray]]
"""Steps taken, and weights with their two moments."""


class Replica:
    """A job's adapter and optimizer on one bank, beside the bank's own slots.

    Replicas of one job that take the same gradients stay equal to the last bit. The sum of all parts is the gradient of
    the whole batch: each labelled token weighs the same wherever it is.
    """

    def __init__(self, bank: Bank, job: Job) -> None:
        job = replace(job, texts=bank.taught(job.texts, job.objective, job.base))
        self._prepared = prepare(job, bank.patched.modules, bank.vocabulary, bank.max_length, bank.positions)
        self.bases = (job.base,)
        bank.patched.residents.check(job.base)
        bank.borrowers.add(self)
        self._slots = Slots(bank.patched, bank.training.max_tokens_per_microbatch)
        self._slots.admit([self._prepared])
        self._buffers_SP = self._slots.cohorts[0].buffers_SP

    @property
    def steps(self) -> int:
        return self._prepared.steps

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._prepared.warnings

    def standing(self) -> int:
        """Steps taken."""
        return self._slots.running[0].step

    def advance(self, part: int, parts: int, *gradients: np.ndarray) -> tuple[float, np.ndarray]:
        """Take a step along these, if any; then the next batch's loss and gradient, as much of both as is this part's.

        The examples are dealt out by length, longest first.
        """
        self._take(gradients)
        examples = examples_of(self._slots.running[0].rows(0))
        dealt = sorted(examples, key=lambda example: -sum(len(row.ids) for row in example))[part::parts]
        rows = [row for example in dealt for row in example]
        if not rows:
            return 0.0, np.zeros_like(self._buffers_SP[1][0].cpu().numpy())
        loss_S = self._slots.accumulate([rows])
        return float(loss_S[0]), self._buffers_SP[1][0].cpu().numpy().copy()

    def step(self) -> float:
        """Take the next step by itself; the loss before it."""
        loss_S = self._slots.accumulate([self._slots.running[0].rows(0)])
        self._slots.take()
        return float(loss_S[0])

    def finish(self, *gradients: np.ndarray) -> Adapter | None:
        """Take the last step, along these if any; the adapter, or None where its weights are no numbers."""
        self._take(gradients)
        weight_P = self._buffers_SP[0][0]
        if not weight_P.isfinite().all():
            return None
        return to_adapter(weight_P, self._prepared.buffer_layout, self._prepared.job.lora)

    def _take(self, gradients: Sequence[np.ndarray]) -> None:
        """A step along the sum of all parts, added in this order."""
        if not gradients:
            return
        total_P = torch.from_numpy(np.sum(gradients, axis=0))
        self._buffers_SP[1][0] = total_P.to(self._buffers_SP[1])
        self._slots.take()

    def state(self) -> State:
        weight, _, mean, square = self._buffers_SP
        return self.standing(), [buffer[0].cpu().numpy().copy() for buffer in (weight, mean, square)]

    def restore(self, state: State) -> None:
        self._slots.running[0].step, numbers = state
        weight, _, mean, square = self._buffers_SP
        for buffer, number_P in zip((weight, mean, square), numbers, strict=True):
            buffer[0] = torch.from_numpy(number_P.copy()).to(buffer)
