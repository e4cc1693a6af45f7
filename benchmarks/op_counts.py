"""Work that is counted, not timed: the same on every machine, so that a guard on it cannot flake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from seal_ray.bank import Bank, Job, JobResult

# Where in the arguments a product's two matrices stand.
PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "addmm_": 1, "baddbmm": 1, "baddbmm_": 1, "_grouped_mm": 0}


class Counted(TorchDispatchMode):
    """Products of matrices, the operations they take, and every kernel that is started, while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.flops = 0

    @property
    def products(self) -> int:
        return sum(self.calls[name] for name in PRODUCTS)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.calls[name] += 1
        if name in PRODUCTS:
            left, right = args[PRODUCTS[name] : PRODUCTS[name] + 2]
            self.flops += 2 * left.numel() * right.shape[-1]
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Work:
    """Of some jobs in a bank."""

    flops: int
    products: int
    kernels: int
    passes: int
    """Times that the base was run."""
    tokens: int
    """Tokens that were trained on."""
    computed: int
    """Tokens that the base ran over, whatever they were for."""


@contextmanager
def counted_passes(bank: Bank) -> Iterator[list[int]]:
    """The tokens of every run of the base, as they come."""
    passes: list[int] = []
    hook = bank.patched.model.register_forward_pre_hook(
        lambda module, args, kwargs: passes.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    try:
        yield passes
    finally:
        hook.remove()


def done(bank: Bank, parts: Iterable[Sequence[Job]]) -> Iterator[JobResult]:
    """Run jobs, a part at a time; within a part, slots are refilled as they finish. A failed trial ends the bench."""
    for part in parts:
        for result in bank.run(part):
            if result.failure:
                raise RuntimeError(f"a trial of the bench failed: {result.key}: {result.failure.reason}")
            yield result


def count(bank: Bank, parts: Sequence[Sequence[Job]]) -> Work:
    """Run jobs, a part at a time, and count what it took."""
    with counted_passes(bank) as passes, Counted() as counted:
        tokens = sum(result.tokens for result in done(bank, parts))
    return Work(counted.flops, counted.products, sum(counted.calls.values()), len(passes), tokens, sum(passes))
