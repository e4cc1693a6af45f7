"""Rows of unlike lengths multiplied and attended to as they lie, by kernels of torch's that need no padding.

Whether a pass takes them is decided here alone: once by a model's device and dtype, and for each product by its shapes.
A kernel that fails, or comes to something else than each row alone when it is tried, is left alone (`tried.py`).
Wherever none is taken rows are padded, which is also what these are held to.
Letters: G slots, N packed tokens, I in, O out, P and Q widths, H heads, K key-value heads, D head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seal_ray.bank import tried, varlen
from seal_ray.bank.varlen import Kernel, Rows

GROUPED, FLASH = (9, 10), 8
"""Compute capabilities: those that multiply groups in one kernel (on others they go one by one, which waits for the
device to say how many rows each has), and the least that attends to rows in one."""
MOST_SLOTS, WIDEST = 1023, 256
"""Groups of a product, and numbers of a head, that the kernels take."""
BYTES = 16
"""Every line of a matrix must begin at a multiple of these, and every width fill them."""


@dataclass(frozen=True)
class Ragged:
    """The kernels that a model's device has for its dtype; None of those that it has not."""

    grouped_mm: Kernel | None = None
    """`torch.nn.functional.grouped_mm`, or what has its signature."""
    varlen_attn: Kernel | None = None
    """`torch.nn.attention.varlen.varlen_attn`, or what has its signature in one of torch's versions."""

    @classmethod
    def on(cls, device: torch.device, dtype: torch.dtype) -> Ragged:
        """Those that torch has."""
        if device.type != "cuda" or torch.version.hip:
            return PADDED
        from torch.nn.attention.varlen import varlen_attn  # it registers operators, which a processor has no use for

        attend: Any = varlen_attn  # asked for more, it returns more than a tensor
        major, _ = torch.cuda.get_device_capability(device)
        half = dtype in (torch.bfloat16, torch.float16)
        return cls(
            F.grouped_mm if dtype == torch.bfloat16 and major in GROUPED else None,
            attend if half and major >= FLASH and varlen.fits(attend) else None,
        )

    def product(self, left: Tensor, right: Tensor, ends_G: Tensor) -> Tensor | None:
        """Of slots whose rows end at these: `[N, I] · [G, I, O]`, or `[P, N] · [N, Q]` as `[G, P, Q]`.

        None where no kernel takes them. What a slot without rows has in `[G, P, Q]` may be anything.
        """
        if self.grouped_mm is None or len(ends_G) > MOST_SLOTS or not (_aligned(left) and _aligned(right)):
            return None
        widths = right.shape[1:] if right.dim() == 3 else (left.shape[0], right.shape[1])
        if any(width * left.itemsize % BYTES for width in widths):
            return None
        multiply = self.grouped_mm
        return tried.result(multiply, tried.products, left, of=lambda: multiply(left, right, offs=ends_G))

    def attention(
        self, q_NHD: Tensor, k_NKD: Tensor, v_NKD: Tensor, rows: Rows, scale: float | None, window: int | None
    ) -> Tensor | None:
        """Of each row to itself and what comes before it, within the window; None where no kernel takes these."""
        width = q_NHD.shape[-1]
        if self.varlen_attn is None or width != v_NKD.shape[-1] or width > WIDEST or width * q_NHD.itemsize % BYTES:
            return None
        if not all(x.stride(-1) == 1 and _aligned(x) for x in (q_NHD, k_NKD, v_NKD)):
            return None
        window = None if window is None or window >= rows.longest else window
        shape = q_NHD.shape[1], k_NKD.shape[1], width, int(window is not None)
        attend = self.varlen_attn

        def attended() -> Tensor:
            return varlen.attention(attend, q_NHD, k_NKD, v_NKD, rows, scale, window)

        return tried.result(attend, tried.rows_attended, q_NHD, *shape, of=attended)


PADDED = Ragged()
"""No kernel: rows are padded."""


def _aligned(x: Tensor) -> bool:
    lines = all(step == 1 or step * x.itemsize % BYTES == 0 for step in x.stride())
    return lines and 1 in x.stride() and x.data_ptr() % BYTES == 0
