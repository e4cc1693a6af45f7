"""How numbers come to the device that a model is on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host's on a device; nobody waits for what the device is at."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def sent_array(array: NDArray[Any], device: torch.device) -> Tensor:
    """The same of an array."""
    return sent(torch.from_numpy(np.ascontiguousarray(array)), device)
