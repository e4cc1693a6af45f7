"""Kernels tried on a few numbers before they are first used, beside what each row comes to alone.

One of the rows holds no numbers, as a text may that has gone to NaN, and one slot has none: nobody else is to notice.
Letters: G slots, N packed tokens, T tokens of a row, I in, O out, H heads, K key-value heads, D head width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from seal_ray.bank.bucket import causal
from seal_ray.bank.varlen import Kernel, Rows, attention

log = logging.getLogger(__name__)
Pair = tuple[Tensor, Tensor]
"""What came of something, and what should have."""
COUNTS = (5, 40, 0, 130, 1)
"""Tokens of each row, or slot; the second holds no numbers."""
WIDE, NARROW, WINDOW = 64, 16, 7


_FAILED: set[tuple[Kernel, torch.device, torch.dtype]] = set()
"""What failed when it was used, and is never used again."""


def result(
    kernel: Kernel, trial: Callable[..., Iterator[Pair]], like: Tensor, *shape: int, of: Callable[[], Tensor]
) -> Tensor | None:
    """Of a use of a kernel on numbers like these; None where it failed when it was tried, or fails now."""
    place = like.device, like.dtype
    if (kernel, *place) in _FAILED or not _right(kernel, trial, *place, *shape):
        return None
    try:
        return of()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        _FAILED.add((kernel, *place))
        _say(kernel, *place, _short(error))
        return None


@cache
def _right(
    kernel: Kernel, trial: Callable[..., Iterator[Pair]], device: torch.device, dtype: torch.dtype, *shape: int
) -> bool:
    """Whether a kernel does on this device what it should."""
    near = torch.finfo(dtype).eps ** 0.5
    try:
        close = [torch.allclose(found, wanted, near, near) for found, wanted in trial(kernel, device, dtype, *shape)]
        wrong = "" if all(close) else "what it comes to is wrong"
    except Exception as error:
        wrong = _short(error)
    if wrong:
        _say(kernel, device, dtype, wrong)
    return not wrong


def _say(kernel: Kernel, device: torch.device, dtype: torch.dtype, why: str) -> None:
    name = getattr(kernel, "__name__", "a kernel")
    log.warning("%s is not used on %s in %s, where rows are padded instead: %s", name, device, dtype, why)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error) or '-').splitlines()[0]}"


def products(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> Iterator[Pair]:
    """Each row by its slot's matrix, which lies in either order, and the products over each slot's rows."""
    spans, ends_G = _spans(), torch.tensor(COUNTS).cumsum(0).to(device, torch.int32)
    x_NI, y_NO = (_tokens(width).to(device, dtype) for width in (WIDE, NARROW))
    w_GIO = _drawn(len(COUNTS), WIDE, NARROW).to(device, dtype)
    turned_GIO = w_GIO.transpose(1, 2).contiguous().transpose(1, 2)
    found_NO, turned_NO = (kernel(x_NI, matrices_GIO, offs=ends_G) for matrices_GIO in (w_GIO, turned_GIO))
    outer_GIO = kernel(x_NI.T, y_NO, offs=ends_G)
    for slot, rows in spans.items():
        yield found_NO[rows], x_NI[rows] @ w_GIO[slot]
        yield turned_NO[rows], x_NI[rows] @ w_GIO[slot]
        yield outer_GIO[slot], x_NI[rows].T @ y_NO[rows]


def rows_attended(
    kernel: Kernel, device: torch.device, dtype: torch.dtype, heads: int, key_heads: int, width: int, windowed: int
) -> Iterator[Pair]:
    """Rows that attend to themselves, forward and back."""
    counts, window = [count for count in COUNTS if count], WINDOW if windowed else None
    rows = Rows(torch.tensor([0, *counts]).cumsum(0).to(device, torch.int32), max(counts))
    # What a pass keeps may be counted, or worked out a second time; this is no part of it.
    with torch.enable_grad(), saved_tensors_hooks(lambda kept: kept, lambda kept: kept):
        given = [_tokens(count, width).to(device, dtype).requires_grad_() for count in (heads, key_heads, key_heads)]
        upstream_NHD = _drawn(len(given[0]), heads, width).to(device, dtype)
        out_NHD = attention(kernel, given[0], given[1], given[2], rows, None, window)
        found = out_NHD.detach(), *torch.autograd.grad(out_NHD, given, upstream_NHD)
        for span in _spans().values():
            own = [x[span].detach().requires_grad_() for x in given]
            alone_THD = _alone(own, window)
            wanted = alone_THD.detach(), *torch.autograd.grad(alone_THD, own, upstream_NHD[span])
            yield from ((ours[span], theirs) for ours, theirs in zip(found, wanted, strict=True))


def _alone(given: Sequence[Tensor], window: int | None) -> Tensor:
    seen_TT = causal(len(given[0]), window, given[0].device)
    q, k, v = (x.transpose(0, 1)[None] for x in given)
    return F.scaled_dot_product_attention(q, k, v, seen_TT, enable_gqa=True)[0].transpose(0, 1)


def _spans() -> dict[int, slice]:
    """Where the rows lie that hold numbers."""
    return {n: slice(sum(COUNTS[:n]), sum(COUNTS[: n + 1])) for n, count in enumerate(COUNTS) if count and n != 1}


def _tokens(*shape: int) -> Tensor:
    """`[N, …]`: random numbers for each token, and none for those of the second row."""
    drawn = _drawn(sum(COUNTS), *shape)
    drawn[COUNTS[0] : COUNTS[0] + COUNTS[1]] = float("nan")
    return drawn


def _drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
