"""What texts may be trained to: their tokens, what a reference or a teacher predicts, distributions, or a preference.

An own objective is a frozen class with the three members of `Objective`. Letters: L labelled tokens, V vocabulary,
K kept tokens of a distribution, R rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from seal_ray import plugins
from seal_ray.bank.loss import (
    distilled_losses_and_grad,
    kl_and_grad,
    soft_losses_and_grad,
    token_losses,
    token_losses_and_grad,
)
from seal_ray.bank.rows import Labelled, Objective, Row
from seal_ray.types import DataError, ObjectiveSpec


class _PerToken:
    """Every labelled token is a term of the mean by itself."""

    @property
    def texts_per_example(self) -> int:
        return 1

    @property
    def needs_reference(self) -> bool:
        return False

    def count(self, labels: Sequence[int]) -> int:
        return sum(labels)


@dataclass(frozen=True)
class CrossEntropy(_PerToken):
    """Minus the log-probability of each token."""

    def loss_and_grad(
        self, logits_LV: Tensor, labelled: Labelled, reference_LV: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return token_losses_and_grad(logits_LV, labelled.targets_L, labelled.weights_L)


@dataclass(frozen=True)
class KL(_PerToken):
    """How far predictions have moved from those without the adapter: `KL(reference ‖ now)`."""

    @property
    def needs_reference(self) -> bool:
        return True

    def loss_and_grad(
        self, logits_LV: Tensor, labelled: Labelled, reference_LV: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert reference_LV is not None
        return kl_and_grad(logits_LV, reference_LV, labelled.weights_L)


@dataclass(frozen=True)
class SoftTargets(_PerToken):
    """Cross-entropy to the distributions that come with the texts, `-Σ p log q`, as a teacher gives them."""

    def loss_and_grad(
        self, logits_LV: Tensor, labelled: Labelled, reference_LV: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        tokens_LK, probs_LK = _stacked(labelled.rows, logits_LV.device)
        return soft_losses_and_grad(logits_LV, tokens_LK, probs_LK, labelled.weights_L)


@dataclass(frozen=True)
class Distilled(_PerToken):
    """How far predictions are from a teacher's, `KL(teacher ‖ now)`: the same model, with more in sight.

    Of what a teacher predicts its likeliest `kept` tokens are kept by name, all others as one.
    """

    kept: int = 20

    def __post_init__(self) -> None:
        if self.kept < 1:
            raise DataError(f"kept {self.kept} tokens of what a teacher predicts say nothing; keep one at least")

    def loss_and_grad(
        self, logits_LV: Tensor, labelled: Labelled, reference_LV: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        losses, at = [], 0
        # Rows that name unlike numbers of tokens are worked out apart: whatever filled up the fewer would be named too.
        for _, some in groupby(labelled.rows, key=_named):
            rows = list(some)
            end = at + sum(len(row.labels) for row in rows)
            part_LV, weights_L = logits_LV[at:end], labelled.weights_L[at:end]
            found_L, _ = distilled_losses_and_grad(part_LV, *_stacked(rows, logits_LV.device), weights_L)
            losses.append(found_L)
            at = end
        return torch.cat(losses), logits_LV


def _named(row: Row) -> int:
    """How many tokens its distributions name."""
    assert row.targets is not None
    return int(row.targets.tokens_TK.shape[1])


def _stacked(rows: Sequence[Row], device: torch.device) -> tuple[Tensor, Tensor]:
    """The distributions of all rows, as wide as the widest."""
    given = [row.targets for row in rows]
    width = max(targets.tokens_TK.shape[1] for targets in given if targets is not None)
    tokens, probs = [], []
    for targets in given:
        assert targets is not None
        missing = ((0, 0), (0, width - targets.tokens_TK.shape[1]))
        tokens.append(np.pad(targets.tokens_TK, missing))
        probs.append(np.pad(targets.probs_TK, missing))
    return tuple(torch.from_numpy(np.concatenate(parts)).to(device) for parts in (tokens, probs))  # type: ignore[return-value]


@dataclass(frozen=True)
class DPO:
    """Direct preference optimisation: texts come in pairs, the better first.

    `-log σ(β (log π(better)/ref(better) - log π(worse)/ref(worse)))`, where the reference is the model without the
    adapter and a text's log-probability is the sum over its labelled tokens.
    """

    beta: float = 0.1

    @property
    def texts_per_example(self) -> int:
        return 2

    @property
    def needs_reference(self) -> bool:
        return True

    def count(self, labels: Sequence[int]) -> int:
        return len(labels) // 2

    def loss_and_grad(
        self, logits_LV: Tensor, labelled: Labelled, reference_LV: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert reference_LV is not None
        targets_L, lengths = labelled.targets_L, [len(row.labels) for row in labelled.rows]
        gains_L = token_losses(reference_LV, targets_L) - token_losses(logits_LV, targets_L)
        row_L = torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)).to(gains_L.device)
        gains_R = gains_L.new_zeros(len(lengths)).index_add_(0, row_L, gains_L)
        margins_P = self.beta * (gains_R[0::2] - gains_R[1::2])
        # More of the better and less of the worse, the more so the less they are told apart.
        pulls_P = self.beta * torch.sigmoid(-margins_P)
        pulls_L = torch.stack((pulls_P, -pulls_P), 1).flatten()[row_L]
        _, grad_LV = token_losses_and_grad(logits_LV, targets_L, labelled.weights_L * pulls_L)
        losses_L = torch.zeros_like(gains_L)
        firsts = np.cumsum([0, *lengths[:-1]])[0::2]
        losses_L[torch.from_numpy(firsts).to(gains_L.device)] = -logsigmoid(margins_P)
        return losses_L, grad_LV


@dataclass(frozen=True)
class PolicyGradient(_PerToken):
    """More of texts that turned out better than expected and less of the others, by PPO's clipped surrogate.

    `-min(r A, clip(r, 1 - ε, 1 + ε) A)` for each token, where r is its probability over that without the adapter, by
    which the text was written, and A the weight of the text: its advantage. No token is moved further than the clip.
    """

    clip: float = 0.2

    @property
    def needs_reference(self) -> bool:
        return True

    def loss_and_grad(
        self, logits_LV: Tensor, labelled: Labelled, reference_LV: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert reference_LV is not None
        targets_L, weights_L = labelled.targets_L, labelled.weights_L
        ratios_L = (token_losses(reference_LV, targets_L) - token_losses(logits_LV, targets_L)).exp()
        better_L = weights_L > 0
        kept_L = torch.where(better_L, ratios_L.clamp(max=1 + self.clip), ratios_L.clamp(min=1 - self.clip))
        # What was clipped is a constant: nothing pulls at it.
        pulls_L = torch.where(kept_L == ratios_L, ratios_L, torch.zeros_like(ratios_L))
        _, grad_LV = token_losses_and_grad(logits_LV, targets_L, weights_L * pulls_L)
        return -kept_L, grad_LV


OBJECTIVES = {"distilled": Distilled, "dpo": DPO, "policy gradient": PolicyGradient}


def objective_of(spec: ObjectiveSpec | None) -> Objective:
    """The objective of that name, one's own too, made from its options; their tokens where none is named."""
    if spec is None:
        return CrossEntropy()
    kind = plugins.find_with("objective", spec.name, OBJECTIVES, ("loss_and_grad",), "seal_ray/bank/rows.py")
    wrong = f"objective {spec.name!r}: cannot be made from its options"
    return plugins.made(wrong, kind, **spec.options)  # type: ignore[no-any-return]


def loss_and_grad(
    rows: Sequence[Row], targets_L: Tensor, weights_L: Tensor, logits_LV: Tensor, reference_LV: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Losses and gradient of rows, each run of them by its own objective; the gradient is where the logits were."""
    runs = [(objective, list(run)) for objective, run in groupby(rows, key=lambda row: row.objective)]
    if len(runs) == 1:
        return _run(*runs[0], targets_L, weights_L, logits_LV, reference_LV)
    losses, at = [], 0
    for objective, run in runs:
        end = at + sum(len(row.labels) for row in run)
        part_LV, before_LV = logits_LV[at:end], reference_LV[at:end] if reference_LV is not None else None
        found_L, grad_LV = _run(objective, run, targets_L[at:end], weights_L[at:end], part_LV, before_LV)
        if grad_LV is not part_LV:
            part_LV.copy_(grad_LV)
        losses.append(found_L)
        at = end
    return torch.cat(losses), logits_LV


def _run(
    objective: Objective | None,
    rows: Sequence[Row],
    targets_L: Tensor,
    weights_L: Tensor,
    logits_LV: Tensor,
    reference_LV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    assert objective
    return objective.loss_and_grad(logits_LV, Labelled(rows, targets_L, weights_L), reference_LV)


def by_reference(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows that need no reference, and those that do, which go through the model twice; none of them empty."""
    kinds: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        assert row.objective
        kinds[row.objective.needs_reference].append(row)
    return [kind for kind in kinds if kind]
