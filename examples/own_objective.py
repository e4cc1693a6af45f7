"""An objective of one's own, in what a trainer runs: tokens that are probable enough already are learnt no further."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seal_ray.bank.loss import token_losses, token_losses_and_grad
from seal_ray.bank.objectives import CrossEntropy
from seal_ray.bank.rows import Labelled


@dataclass(frozen=True)
class UpTo(CrossEntropy):
    enough: float = 0.9

    def loss_and_grad(
        self, logits_LV: Tensor, labelled: Labelled, reference_LV: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        unsure_L = token_losses(logits_LV, labelled.targets_L).neg().exp() < self.enough
        return token_losses_and_grad(logits_LV, labelled.targets_L, labelled.weights_L * unsure_L)
