"""The adapters of many slots as one buffer: which layers they sit on, how they start, where they lie.

Letters: S slots, P numbers per slot, I in, O out, R rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seal_ray.bank.adapter import Adapter, tensor_names
from seal_ray.types import ALL_LINEAR, DataError, LoraSpec, derive_seed


@dataclass(frozen=True)
class Site:
    """A linear layer that can carry an adapter."""

    name: str
    width_in: int
    width_out: int
    head: bool = False
    """The model's output head, which is no part of `all-linear`."""


def sites_of(model: nn.Module) -> tuple[Site, ...]:
    """Every linear layer of a model, in the model's own order."""
    head_of = getattr(model, "get_output_embeddings", None)
    head = head_of() if callable(head_of) else None
    found = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
    return tuple(Site(name, module.in_features, module.out_features, module is head) for name, module in found)


def matching(sites: Iterable[Site], targets: Sequence[str]) -> tuple[Site, ...]:
    """The sites that targets name, as PEFT matches them; `DataError` for a target that names none."""
    sites = tuple(sites)
    names = {target: {site.name for site in sites if _matches(site, target)} for target in targets}
    for target, found in names.items():
        if not found:
            raise DataError(f'no linear module is named "{target}"; name some of {_known(sites)}')
    chosen = set().union(*names.values())
    if not chosen:
        raise DataError("the adapter targets no module; name at least one")
    return tuple(site for site in sites if site.name in chosen)


def _matches(site: Site, target: str) -> bool:
    if target == ALL_LINEAR:
        return not site.head
    return site.name == target or site.name.endswith(f".{target}")


def _known(sites: Iterable[Site]) -> str:
    return ", ".join(sorted({site.name.rpartition(".")[2] for site in sites}))


def initial_weights(sites: Sequence[Site], lora: LoraSpec, seed: int) -> dict[str, Tensor]:
    """A fresh adapter's A `[rank, in]` by site name: PEFT's default draw, in float32, in the order of the sites.

    Drawn on the CPU from the seed alone. B is zero, as in PEFT.
    """
    generator = torch.Generator().manual_seed(derive_seed("init", seed))
    weights = {}
    for site in sites:
        # kaiming_uniform with a = sqrt(5) is uniform within one over the root of the width.
        bound = site.width_in**-0.5
        weights[site.name] = torch.empty(lora.rank, site.width_in).uniform_(-bound, bound, generator=generator)
    return weights


@dataclass(frozen=True)
class Plan:
    """Where in a slot's row of the buffer each site's A `[R, I]` and B `[O, R]` lie.

    Smaller ranks are padded with zeros, and sites a slot does not target are zero: both get zero gradients and stay.
    """

    rank: int
    sites: tuple[Site, ...]

    @property
    def size(self) -> int:
        return self.rank * sum(site.width_in + site.width_out for site in self.sites)

    def views(self, flat_SP: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """A `[S, R, I]` and B `[S, O, R]` of every site, as views of the buffer."""
        views, at = {}, 0
        for site in self.sites:
            middle, end = at + self.rank * site.width_in, at + self.rank * (site.width_in + site.width_out)
            a_SRI = flat_SP[:, at:middle].unflatten(1, (self.rank, site.width_in))
            b_SOR = flat_SP[:, middle:end].unflatten(1, (site.width_out, self.rank))
            views[site.name] = (a_SRI, b_SOR)
            at = end
        return views

    @classmethod
    def union(cls, specs: Iterable[tuple[int, Sequence[Site]]], order: Sequence[Site]) -> Plan:
        """The smallest plan that holds adapters of these ranks and sites."""
        specs = list(specs)
        names = {site.name for _, sites in specs for site in sites}
        return cls(max((rank for rank, _ in specs), default=0), tuple(site for site in order if site.name in names))


def move(source: Tensor, old: Plan, target: Tensor, new: Plan) -> None:
    """Copy rows of a buffer into the same rows of one with another plan; what the old one lacks stays as it is."""
    if old == new:
        target[: len(source)] = source
        return
    theirs, ours = old.views(source), new.views(target)
    rank = min(old.rank, new.rank)
    for name in theirs.keys() & ours.keys():
        (from_a, from_b), (to_a, to_b) = theirs[name], ours[name]
        to_a[: len(from_a), :rank] = from_a[:, :rank]
        to_b[: len(from_b), :, :rank] = from_b[:, :, :rank]


def to_adapter(row_P: Tensor, plan: Plan, sites: Sequence[Site], lora: LoraSpec) -> Adapter:
    """A slot's row as an adapter of its own rank."""
    views, tensors = plan.views(row_P.cpu()[None]), {}
    for site in sites:
        a_SRI, b_SOR = views[site.name]
        name_a, name_b = tensor_names(site.name)
        tensors[name_a] = a_SRI[0, : lora.rank].contiguous().numpy()
        tensors[name_b] = b_SOR[0, :, : lora.rank].contiguous().numpy()
    # A PEFT folder lists modules: its readers know the shorthand only as a way to make one.
    targets = tuple(site.name for site in sites) if ALL_LINEAR in lora.targets else tuple(lora.targets)
    return Adapter(lora.rank, lora.alpha, targets, tensors)
