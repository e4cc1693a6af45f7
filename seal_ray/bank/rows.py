"""What a pass is made of: rows, each a text of one slot, and what each of them is trained to.

Letters: T tokens of a text, K kept tokens of a distribution, L labelled tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Ints = np.ndarray


@dataclass(frozen=True, eq=False)
class Distributions:
    """For each position, how likely some tokens are to be; what is not named has no probability."""

    tokens_TK: np.ndarray
    probs_TK: np.ndarray

    def __getitem__(self, positions: slice | Ints) -> Distributions:
        return Distributions(self.tokens_TK[positions], self.probs_TK[positions])


@dataclass(frozen=True)
class Row:
    """One text of one slot, ready to be packed. `labels` are the positions whose next token is learnt."""

    slot: int
    ids: Ints
    labels: Ints
    weight: float = 1.0
    """What each of its labelled tokens counts in its slot's loss."""
    objective: Objective | None = None
    """What it is trained to; None where nothing is trained."""
    continues: bool = False
    """Whether this row belongs to the example of the row before it, and so into the same pass."""
    targets: Distributions | None = None
    """What is to be predicted at each label, where that is not the next token alone."""


@dataclass(frozen=True)
class Labelled:
    """The labelled tokens of consecutive rows that have one objective."""

    rows: Sequence[Row]
    targets_L: Tensor
    """The token that follows each of them."""
    weights_L: Tensor
    """What each of them counts; in float16 scaled up, as its gradient is to be."""


class Objective(Protocol):
    """What rows are trained to. Frozen: rows of equal objectives are worked out together."""

    @property
    def texts_per_example(self) -> int:
        """How many consecutive texts are one example, which is never divided over passes."""

    @property
    def needs_reference(self) -> bool:
        """Whether it reads what the model predicts without the slot's adapter."""

    def count(self, labels: Sequence[int]) -> int:
        """What the loss of a batch is a mean over: how many terms texts with these numbers of labelled tokens have."""

    def loss_and_grad(
        self, logits_LV: Tensor, labelled: Labelled, reference_LV: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """`[L]`, whose sum, weighted by the tokens, is the loss; and the gradient of that sum, `[L, V]`.

        The gradient may take the place of the logits, which nothing reads afterwards.
        """


def examples_of(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each example."""
    examples: list[list[Row]] = []
    for row in rows:
        if row.continues and examples:
            examples[-1].append(row)
        else:
            examples.append([row])
    return examples


def cut(rows: Sequence[Row], budget: int) -> Iterator[list[Row]]:
    """Consecutive examples of at most `budget` tokens together, or one example."""
    batch: list[Row] = []
    tokens = 0
    for example in examples_of(rows):
        length = sum(len(row.ids) for row in example)
        if batch and tokens + length > budget:
            yield batch
            batch, tokens = [], 0
        batch += example
        tokens += length
    yield batch
