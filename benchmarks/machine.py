"""What the machine can do, and what it holds: its peak at multiplying matrices, and memory at its highest."""

from __future__ import annotations

import ctypes
import gc
import resource
import time
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


def sync(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads"


def matmul_peak(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """FLOP/s of the fastest of some large square products, in the dtype that the model computes in."""
    best = 0.0
    for side in (4096, 8192) if device.type == "cuda" else (1024, 2048):
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        a @ b
        sync(device)
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            started = time.perf_counter()
            for _ in range(20 if device.type == "cuda" else 1):
                a @ b
            sync(device)
            count = 20 if device.type == "cuda" else 1
            best = max(best, count * 2 * side**3 / (time.perf_counter() - started))
    return best


def held_bytes(device: torch.device) -> int:
    """Memory that tensors have now: of the GPU, or of this process, each storage once."""
    gc.collect()
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


class Peak:
    """The most memory held since it was made: of the GPU, or of this process."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _give_back()
            if _STATUS.exists():
                Path("/proc/self/clear_refs").write_text("5")

    def bytes(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if not _STATUS.exists():
            # Since the process began, which is as much as such a system says; in bytes on macOS.
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        lines = _STATUS.read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _give_back() -> None:
    """What was freed goes back to the system, where the C library can do that."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
