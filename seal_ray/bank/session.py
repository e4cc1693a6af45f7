"""One adapter and its optimiser on a bank, driven from outside: losses and steps are the caller's to choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seal_ray.adapters.lora import Adapter
from seal_ray.bank.bank import Bank
from seal_ray.bank.job import Job, TokenText
from seal_ray.bank.lora import to_adapter
from seal_ray.bank.objectives import CrossEntropy
from seal_ray.bank.optim import StepScalars, adamw_step
from seal_ray.bank.prepare import Limit, prepare_untrained, rows_of, trainable
from seal_ray.bank.residents import BASE
from seal_ray.bank.rows import Objective
from seal_ray.bank.slots import Slots
from seal_ray.types import DataError, LoraSpec, OptimSpec


@dataclass(frozen=True)
class Metrics:
    """What a batch resulted in, before the step that is taken along its gradient."""

    loss: float
    tokens: int
    warnings: tuple[str, ...] = ()
    """What was cut or left out of it."""


class BankSession:
    """A fresh adapter beside the bank's own slots, over one of its resident adapters or over the base.

    Jobs may be under way in the bank meanwhile; calls take turns with its steps, as all of a bank's calls do.
    """

    def __init__(self, bank: Bank, lora: LoraSpec, seed: int = 0, base: str = BASE) -> None:
        self.bases, self.steps = (base,), 0
        self._bank = bank
        bank.patched.residents.check(base)
        self._prepared = prepare_untrained(Job("session", (), lora, seed=seed, base=base), bank.patched.modules)
        self._slots = Slots(bank.patched, bank.training.max_tokens_per_microbatch, planned=bank.training.planned)
        self._slots.admit([self._prepared])
        self._buffers_SP = self._slots.cohorts[0].buffers_SP
        self._grad_P = self._buffers_SP[1][0].clone()
        bank.borrowers.add(self)

    def forward_backward(
        self, batch: Sequence[TokenText], objective: Objective | None = None, coef: float = 1.0
    ) -> Metrics:
        """Add the gradient of `coef` times a batch's loss to what the next step follows; cross-entropy by default.

        `DataError` where nothing of the batch can be trained on.
        """
        objective, warnings = objective or CrossEntropy(), list[str]()
        limit = Limit(self._bank.max_length, "")
        read = self._bank.taught(tuple(batch), objective, self._prepared.job.base) or ()
        texts = trainable("text", read, objective, self._bank.vocabulary, limit, warnings)
        if not texts:
            raise DataError("no token of the batch carries loss; give a text of two tokens or more, one of them learnt")
        losses_S = self._slots.accumulate([rows_of(0, texts, objective, coef)])
        self._grad_P += self._buffers_SP[1][0]
        return Metrics(float(losses_S[0]), sum(len(text.ids) for text in texts), tuple(warnings))

    def optim_step(self, optim: OptimSpec) -> None:
        """Take an AdamW step along the gradient gathered since the last one, with the learning rate as it is given.

        Epochs, batch size and schedule of the settings are the caller's affair.
        """
        self._buffers_SP[1][0] = self._grad_P
        self._grad_P.zero_()
        adamw_step(self._buffers_SP, [StepScalars(optim, optim.lr, self.steps + 1)])
        self.steps += 1

    def save(self) -> Adapter:
        """The adapter as it stands, without the one below it; `DataError` where its weights are no numbers."""
        weight_P = self._buffers_SP[0][0]
        if not weight_P.isfinite().all():
            raise DataError("the weights are not finite; train with a smaller learning rate")
        return to_adapter(weight_P.clone(), self._prepared.buffer_layout, self._prepared.job.lora)
