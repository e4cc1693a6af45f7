"""How many slots there is memory for, and how many tokens one pass may have.

Tokens are planned from what the first pass keeps for its backward half, and what is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from seal_ray.machine import free_memory

FIRST, MOST = 2048, 16384
"""Tokens of the pass that is measured, and of any on a GPU: beyond that a pass gains nothing. On a CPU it gains nothing
beyond the first, or a whole text."""
SHARE = 0.5
"""The share of the free memory that is used; the rest is for what lives only for a moment, and for other processes."""


class SavedActivations(saved_tensors_hooks):
    """Bytes that the forward half of a pass keeps, each tensor's memory once and the weights not at all."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(self._note, lambda tensor: tensor)
        self._weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        self._found: dict[int, int] = {}

    def _note(self, tensor: Tensor) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights:
            self._found[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        return sum(self._found.values())


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def most_tokens(device: torch.device, longest: int) -> int:
    """Of one pass on a device, where texts have up to `longest` tokens."""
    return MOST if device.type == "cuda" else min(MOST, max(FIRST, longest))


def tokens_that_fit(kept: int, tokens: int, device: torch.device) -> int:
    """How many tokens a pass may have, given that one of `tokens` tokens kept `kept` bytes for its backward half."""
    return max(1, int(SHARE * free_bytes(device) * tokens / max(1, kept)))


def slots_that_fit(sizes: Sequence[int], allocated: int, device: torch.device) -> int:
    """How many slots of these bytes fit, the first ones first, given the bytes that slots have `allocated` already."""
    room = int(SHARE * (free_bytes(device) + allocated))
    return sum(total <= room for total in accumulate(sizes))


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be had on a device; on a GPU with what torch holds and does not use."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return free_memory()
