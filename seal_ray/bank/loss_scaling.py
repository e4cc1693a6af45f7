"""Loss scaling in float16, which holds neither small numbers nor large ones: gradients are divided again afterwards.

A step whose scaled gradient does not fit is not left out, as is the custom, but done again at a smaller scale: how many
steps a trial takes is its own affair, and not that of the precision.
"""

from __future__ import annotations

import torch

START, LESS, LEAST = 2.0**8, 2.0**-3, 2.0**-40
"""The scale of a labelled token's part of the gradient, times what it counts in the mean of its batch; what that is
multiplied by where it was too much; and where to give up."""


def needed(dtype: torch.dtype) -> bool:
    """Whether losses in this precision have to be scaled; bfloat16 reaches as far as float32."""
    return dtype == torch.float16
