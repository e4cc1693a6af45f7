"""The adapters of slots as rows of a buffer: which layers they sit on, how they start, where they lie.

Letters: S slots, P numbers per slot, I in, O out, R rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seal_ray.adapters.lora import Adapter, tensor_names
from seal_ray.model.kinds import is_named, not_adapted
from seal_ray.types import ALL_LINEAR, DataError, LoraSpec, derive_seed


@dataclass(frozen=True)
class TargetModule:
    """A linear layer that can carry an adapter."""

    name: str
    width_in: int
    width_out: int
    head: bool = False
    """The model's output head, which is no part of `all-linear`."""


def linear_modules(model: nn.Module) -> tuple[TargetModule, ...]:
    """Every linear layer of a model that can carry an adapter, in the model's own order."""
    head_of = getattr(model, "get_output_embeddings", None)
    head = head_of() if callable(head_of) else None
    experts = any(".experts." in name and weight.dim() == 3 for name, weight in model.named_parameters())
    barred = not_adapted(getattr(getattr(model, "config", None), "model_type", ""), experts)
    found = (
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] not in barred
    )
    return tuple(TargetModule(name, module.in_features, module.out_features, module is head) for name, module in found)


def matching(modules: Iterable[TargetModule], targets: Sequence[str]) -> tuple[TargetModule, ...]:
    """The modules that targets name, as PEFT matches them; `DataError` for a target that names none."""
    modules = tuple(modules)
    names = {target: {module.name for module in modules if _matches(module, target)} for target in targets}
    for target, found in names.items():
        if not found:
            raise DataError(f'no linear module is named "{target}"; name some of {_known(modules)}')
    chosen = set().union(*names.values())
    if not chosen:
        raise DataError("the adapter targets no module; name at least one")
    return tuple(module for module in modules if module.name in chosen)


def _matches(module: TargetModule, target: str) -> bool:
    if target == ALL_LINEAR:
        return not module.head
    return is_named(module.name, target)


def _known(modules: Iterable[TargetModule]) -> str:
    return ", ".join(sorted({module.name.rpartition(".")[2] for module in modules}))


def initial_weights(modules: Sequence[TargetModule], lora: LoraSpec, seed: int) -> dict[str, Tensor]:
    """A fresh adapter's A `[rank, in]` by module name: PEFT's default draw, in float32, in the order of the modules.

    Drawn on the CPU from the seed alone. B is zero, as in PEFT.
    """
    generator = torch.Generator().manual_seed(derive_seed("init", seed))
    weights = {}
    for module in modules:
        # kaiming_uniform with a = sqrt(5) is uniform within one over the root of the width.
        bound = module.width_in**-0.5
        weights[module.name] = torch.empty(lora.rank, module.width_in).uniform_(-bound, bound, generator=generator)
    return weights


@dataclass(frozen=True)
class BufferLayout:
    """Which matrices an adapter is made of, and where in its slot's row of a buffer each A `[R, I]` and B `[O, R]` lie.

    Slots whose adapters are of equal layout share buffers; nothing is padded to the rank or the modules of another.
    """

    rank: int
    modules: tuple[TargetModule, ...]

    @property
    def size(self) -> int:
        return self.rank * sum(module.width_in + module.width_out for module in self.modules)

    def views(self, flat_SP: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """A `[S, R, I]` and B `[S, O, R]` of every module, as views of the buffer."""
        views, at = {}, 0
        for module in self.modules:
            middle, end = at + self.rank * module.width_in, at + self.rank * (module.width_in + module.width_out)
            a_SRI = flat_SP[:, at:middle].unflatten(1, (self.rank, module.width_in))
            b_SOR = flat_SP[:, middle:end].unflatten(1, (module.width_out, self.rank))
            views[module.name] = (a_SRI, b_SOR)
            at = end
        return views


def to_adapter(row_P: Tensor, buffer_layout: BufferLayout, lora: LoraSpec) -> Adapter:
    """A slot's row as an adapter."""
    tensors = {}
    for name, (a_SRI, b_SOR) in buffer_layout.views(row_P.cpu()[None]).items():
        name_a, name_b = tensor_names(name)
        tensors[name_a] = a_SRI[0].contiguous().numpy()
        tensors[name_b] = b_SOR[0].contiguous().numpy()
    # A PEFT folder lists modules: its readers know the shorthand only as a way to make one.
    targets = tuple(module.name for module in buffer_layout.modules) if ALL_LINEAR in lora.targets else lora.targets
    return Adapter(lora.rank, lora.alpha, tuple(targets), tensors)
