"""Adapters that lie under the slots' own: several at once, each slot says by key which of them it starts from."""

from __future__ import annotations

from collections.abc import Sequence, Set

import torch
from torch import Tensor

from seal_ray.adapters.lora import Adapter
from seal_ray.bank.lora import TargetModule

BASE = ""
"""The key of the untouched base, which needs no adapter."""
Weights = dict[str, tuple[Tensor, Tensor]]
"""A `[R, I]` and B `[O, R]` by module, the adapter's scale folded into B."""


class Residents:
    """Adapters on the model's device, by key."""

    def __init__(self, modules: Sequence[TargetModule], device: torch.device, dtype: torch.dtype) -> None:
        self._modules = {module.name: module for module in modules}
        self._device, self._dtype = device, dtype
        self._adapters: dict[str, Weights] = {}

    def __contains__(self, key: str) -> bool:
        return key == BASE or key in self._adapters

    def __getitem__(self, key: str) -> Weights:
        self.check(key)
        return self._adapters.get(key, {})

    def keys(self) -> Set[str]:
        """Those of all but the base."""
        return self._adapters.keys()

    @property
    def bytes(self) -> dict[str, int]:
        """What each adapter takes of the device's memory."""
        return {
            key: sum(part.nbytes for pair in weights.values() for part in pair)
            for key, weights in self._adapters.items()
        }

    def check(self, key: str) -> None:
        """`ValueError` where nothing is loaded under a key."""
        if key not in self:
            known = ", ".join(map(repr, self._adapters)) or "none is"
            raise ValueError(f"no adapter is loaded as {key!r}; load it first (loaded: {known})")

    def load(self, key: str, adapter: Adapter) -> None:
        """Take an adapter in; `ValueError` when it does not fit the model."""
        if key == BASE:
            raise ValueError("the empty key is the untouched base; give the adapter a key of its own")
        weights: Weights = {}
        for name in adapter.modules:
            a_RI, b_OR = adapter.pair(name)
            module = self._modules.get(name)
            if module is None or (a_RI.shape[1], b_OR.shape[0]) != (module.width_in, module.width_out):
                raise ValueError(f'adapter {key!r} does not fit the model at "{name}"; give one made for this base')
            b_OR = b_OR * b_OR.dtype.type(adapter.scale)
            a, b = (torch.tensor(x, device=self._device, dtype=self._dtype) for x in (a_RI, b_OR))
            weights[name] = (a, b)
        self._adapters[key] = weights

    def drop(self, key: str) -> None:
        """Free an adapter's memory."""
        self.check(key)
        self._adapters.pop(key, None)
