"""What it takes to keep a base in eight or four bits: the layers themselves are in `quantized.py`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from seal_ray.types import UserError

if TYPE_CHECKING:
    from seal_ray.config import Config

Quantization = Literal["none", "int8", "nf4"]
BLOCK: dict[Quantization, int] = {"int8": 256, "nf4": 64}
"""Weights that share a scale."""
_DTYPES = ("auto", "bfloat16", "float16", "float32")


def check_quantization(config: Config) -> None:
    """Refuse what a quantized base cannot do, before anything starts."""
    kind = config.model.quantization
    if kind == "none":
        return
    what = f'model.quantization "{kind}"'
    check_package(kind)
    if config.model.dtype not in _DTYPES:
        raise UserError(f"{what}: is not made of {config.model.dtype}; give one of {', '.join(_DTYPES)}")
    if config.evaluation.full_finetune:
        raise UserError(f"{what}: evaluation.full_finetune trains all weights, and these are frozen; leave one out")
    if config.trial.eval_engine == "vllm":
        raise UserError(
            f'{what}: trial.eval_engine "vllm" would answer with a base that is not quantized; '
            'set trial.eval_engine = "bank"'
        )


def check_package(kind: Quantization) -> None:
    """Refuse to keep a base in fewer bits without what does it."""
    if kind != "none" and find_spec("bitsandbytes") is None:
        what = f'model.quantization "{kind}"'
        raise UserError(f"{what}: needs bitsandbytes, which is not installed; pip install 'seal-ray[quantized]'")


def bytes_of(kind: Quantization, weights: int, size: int) -> int:
    """What so many weights of linear layers take, that are of `size` bytes each otherwise."""
    if kind == "none":
        return weights * size
    return weights // (1 if kind == "int8" else 2) + 4 * weights // BLOCK[kind]
