"""Loads a base model and its tokenizer once per worker; only safetensors, no remote code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from seal_ray.model.locate import local_copy, resolve
from seal_ray.plain import first_line
from seal_ray.types import UserError

if TYPE_CHECKING:
    from seal_ray.config import Model


@dataclass(frozen=True)
class ModelSpec:
    """What every worker loads: the same weights, in the same precision."""

    path: str
    revision: str | None
    dtype: str
    max_length: int
    gpus: float = 0
    """GPUs that this worker was given, or the fraction of one."""

    @classmethod
    def of(cls, model: Model, gpus: float = 0) -> Self:
        """The base that a config names, for a worker with this many GPUs."""
        return cls(resolve(model.path), model.revision, model.dtype, model.max_length, gpus)

    @property
    def memory(self) -> float:
        """The part of each of its GPUs' memory that it may fill; the rest is for contexts and other libraries."""
        return 0.9 * min(1.0, self.gpus or 1.0)


def load_tokenizer(spec: ModelSpec) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(local_copy(spec.path), revision=spec.revision)
    except (OSError, ValueError) as error:
        raise UserError(f"model.path {spec.path!r}: no tokenizer could be loaded: {first_line(error)}") from None


def load_model(spec: ModelSpec) -> Any:
    """The frozen base on this worker's device, in evaluation mode."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            local_copy(spec.path), revision=spec.revision, dtype=getattr(torch, spec.dtype), use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise UserError(f"model.path {spec.path!r}: no model could be loaded: {first_line(error)}") from None
    model.requires_grad_(False)
    if not torch.cuda.is_available():
        return model.eval()
    if 0 < spec.gpus < 1:  # what this process caches beyond its part would be missing for those it shares with
        torch.cuda.set_per_process_memory_fraction(spec.memory)
    return model.eval().to("cuda")
