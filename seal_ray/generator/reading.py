"""Texts read by a base side by side: what its linear layers are given, and what it predicts with adapters laid on it.

Letters: N texts, T tokens of the longest, P passages, E width of an embedding, I in, O out, R rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Rows:
    """Texts side by side, each of a passage. What fills up shorter ones stands behind them, and is not looked at."""

    ids_NT: Tensor
    real_NT: Tensor
    passage_N: Tensor

    @classmethod
    def of(cls, texts: Sequence[tuple[int, Sequence[int]]], device: torch.device) -> Rows:
        """Texts, each with the number of its passage."""
        longest = max(len(ids) for _, ids in texts)
        ids_NT = torch.tensor([[*ids, *(longest - len(ids)) * [0]] for _, ids in texts])
        lengths_N1 = torch.tensor([[len(ids)] for _, ids in texts])
        passage_N = torch.tensor([number for number, _ in texts])
        return cls(ids_NT.to(device), (torch.arange(longest) < lengths_N1).to(device), passage_N.to(device))


@dataclass(frozen=True)
class Read:
    """What was seen of texts that a base has read."""

    given: Mapping[str, Tensor]
    """By linear layer what it was given at each token `[N, T, I]`."""
    following_NTE: Tensor
    """The embedding of the token after each, where there is one."""
    followed_NT: Tensor
    passage_N: Tensor


@torch.no_grad()
def read(model: Any, names: Iterable[str], rows: Rows) -> Read:
    """Have the base as it is read these."""
    given = dict[str, Tensor]()

    def noting(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            given[name] = inputs[0].reshape(*rows.ids_NT.shape, -1)

        return note

    handles = [model.get_submodule(name).register_forward_pre_hook(noting(name)) for name in names]
    try:
        model(input_ids=rows.ids_NT, use_cache=False, logits_to_keep=1)
    finally:
        for handle in handles:
            handle.remove()
    following_NTE = model.get_input_embeddings().weight[rows.ids_NT.roll(-1, 1)]
    followed_NT = rows.real_NT.roll(-1, 1)
    followed_NT[:, -1] = False
    return Read(given, following_NTE, followed_NT, rows.passage_N)


@contextmanager
def laid_on(model: Any, factors: Mapping[str, tuple[Tensor, Tensor]], scale: float, rows: Rows) -> Iterator[None]:
    """Have each text go through the base with its passage's adapter on it; gradients of the factors come through."""

    def adding(a_RI: Tensor, b_NOR: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x_NTI = inputs[0].reshape(*rows.ids_NT.shape, -1).to(a_RI.dtype)
            return output + (scale * (x_NTI @ a_RI.T) @ b_NOR.mT).to(output.dtype).view_as(output)

        return add

    handles = [
        model.get_submodule(name).register_forward_hook(adding(a_RI, b_POR[rows.passage_N]))
        for name, (a_RI, b_POR) in factors.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
