"""How much of a training step is multiplying: its products of matrices alone, beside the steps they are part of.

    python -m benchmarks products --model HuggingFaceTB/SmolLM2-135M-Instruct

Every product of some steps is noted with its shapes and strides, and done again alone, on numbers of its own. What they
take together is what the steps would if everything else cost nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.models import build
from benchmarks.op_counts import PRODUCTS, done
from benchmarks.workload import drawn
from seal_ray.bank import Bank, Job, TokenText
from seal_ray.types import LoraSpec, OptimSpec

LEAST_SECONDS = 0.005
"""So long each product is repeated, for a clock to tell."""


@dataclass(frozen=True)
class Settings:
    model: str
    shape: str = "llama-30m"
    dtype: str = "bfloat16"
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    rank: int = 32
    batch_size: int = 1
    slots: tuple[int, ...] = (8, 16)
    steps: int = 4
    pairs: int = 3

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text of the largest bank."""
        return drawn().sample(self.steps * self.batch_size * max(self.slots))


@dataclass(frozen=True)
class Found:
    """Of one bank."""

    slots: int
    tokens_per_s: float
    flops: int
    """What the products of the steps take."""
    seconds: float
    """Processor time of the steps, the middle one of several times."""
    alone: float
    """Processor time of their products by themselves, likewise."""
    shares: tuple[float, ...]
    """One by the other, each time that both were measured."""

    @property
    def share(self) -> float:
        return median(self.shares)

    def line(self) -> str:
        every = ", ".join(f"{share:.0%}" for share in sorted(self.shares))
        return (
            f"{self.slots} slots: {self.tokens_per_s:,.0f} tokens/s, {self.flops / self.seconds / 1e9:,.0f} GFLOP/s of "
            f"{self.flops / self.alone / 1e9:,.0f} that the same products reach alone: {self.share:.0%} ({every})"
        )


@dataclass(frozen=True)
class Operand:
    """Of a product: all of a tensor that its time depends on."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Operand:
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)

    def drawn(self) -> Tensor:
        """Small numbers, for a product that is added to many times over must not leave what a float can hold."""
        size = 1 + sum((length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True))
        return (torch.rand(size) * 1e-3).to(self.dtype).as_strided(self.shape, self.strides)


@dataclass(frozen=True)
class Product:
    name: str
    operands: tuple[Operand, ...]

    @property
    def flops(self) -> int:
        left, right = self.operands[PRODUCTS[self.name] : PRODUCTS[self.name] + 2]
        return 2 * torch.Size(left.shape).numel() * right.shape[-1]

    def seconds(self) -> float:
        """Processor time of one, after a first that warms caches."""
        call: Callable[..., Tensor] = getattr(torch.ops.aten, self.name)
        operands = [operand.drawn() for operand in self.operands]
        call(*operands)
        began, times = time.process_time(), 0
        while time.process_time() - began < LEAST_SECONDS:
            call(*operands)
            times += 1
        return (time.process_time() - began) / times


class Noted(TorchDispatchMode):
    """Which products are computed while it is entered, and how often each."""

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[Product] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in PRODUCTS:
            operands = args[: PRODUCTS[name] + 2]
            self.products[Product(name, tuple(map(Operand.of, operands)))] += 1
        return func(*args, **(kwargs or {}))


def measure(settings: Settings) -> Iterator[Found]:
    """A bank of each size."""
    model, tokenizer = build(settings.shape, settings.model, settings.dtype, "cpu", max(settings.lengths))
    vocabulary = model.get_input_embeddings().weight.shape[0]
    for slots in settings.slots:
        yield _of_bank(Bank(model, tokenizer, slots=slots), jobs(settings, slots, vocabulary), settings.pairs)


def jobs(settings: Settings, slots: int, vocabulary: int) -> list[Job]:
    """One for each slot, as many steps each, of unlike lengths."""
    draw = torch.Generator().manual_seed(0)
    texts = [
        TokenText.of((), torch.randint(vocabulary // 8, vocabulary, (length,), generator=draw).tolist())
        for length in settings.lengths
    ]
    lora = LoraSpec(settings.rank, 2.0 * settings.rank, settings.targets)
    optim = OptimSpec(1e-3, epochs=1, batch_size=settings.batch_size)
    each = settings.steps * settings.batch_size
    return [Job(f"{slot}", tuple(texts[slot * each : (slot + 1) * each]), lora, optim, slot) for slot in range(slots)]


def _of_bank(bank: Bank, asked: Sequence[Job], pairs: int) -> Found:
    with Noted() as noted:
        tokens = sum(result.tokens for result in done(bank, [asked]))
    flops = sum(product.flops * times for product, times in noted.products.items())
    both = [(_seconds(bank, asked), _alone(noted.products)) for _ in range(pairs)]
    whole, alone = (median(found) for found in zip(*both, strict=True))
    return Found(len(asked), tokens / whole, flops, whole, alone, tuple(part / all_ for all_, part in both))


def _seconds(bank: Bank, asked: Sequence[Job]) -> float:
    began = time.process_time()
    for _ in done(bank, [asked]):
        pass
    return time.process_time() - began


def _alone(products: Counter[Product]) -> float:
    return sum(product.seconds() * times for product, times in products.items())
