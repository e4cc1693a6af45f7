"""In which precision a machine is to compute where a config leaves that to it: `model.dtype = "auto"`.

bfloat16 halves the memory and is several times as fast where the hardware multiplies it; where it does not, it is
emulated and many times slower than float32. float16 is never chosen: gradients leave its range, and only old hardware
has it without bfloat16.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

AUTO: Final = "auto"
_MULTIPLY = ("amx_bf16", "avx512_bf16")
"""What a processor says of itself in /proc/cpuinfo when it multiplies bfloat16, and torch lets it."""


@dataclass(frozen=True)
class Precision:
    dtype: str
    reason: str


def of_this_process() -> Precision:
    """As a worker in this process would have it: of its GPU where it sees one, else of the processor."""
    import torch

    from seal_ray.record.environment import processor

    if not torch.cuda.is_available():
        return of_processor(*processor())
    name = torch.cuda.get_device_name()
    return _settled(torch.cuda.is_bf16_supported(including_emulation=False), name, "")


def of_processor(name: str, flags: Collection[str]) -> Precision:
    """As a processor that says this of itself would have it."""
    found = next((flag for flag in _MULTIPLY if flag in flags), "")
    return _settled(bool(found), name or "this processor", f" ({found})" if found else "")


def _settled(multiplies: bool, name: str, how: str) -> Precision:
    if multiplies:
        return Precision("bfloat16", f"{name} multiplies bfloat16 in hardware{how}")
    return Precision("float32", f"{name} does not multiply bfloat16 in hardware")
