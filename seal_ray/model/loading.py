"""Loads a base model and its tokenizer once per worker; only safetensors, no remote code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from seal_ray.model.kinds import why_no_base
from seal_ray.model.locate import local_copy, resolve
from seal_ray.model.quantization import Quantization, check_package
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
    quantization: Quantization = "none"

    @classmethod
    def of(cls, model: Model, gpus: float = 0) -> Self:
        """The base that a config names, for a worker with this many GPUs."""
        return cls(resolve(model.path), model.revision, model.dtype, model.max_length, gpus, model.quantization)

    @property
    def memory(self) -> float:
        """The part of each of its GPUs' memory that it may fill; the rest is for contexts and other libraries."""
        return 0.9 * min(1.0, self.gpus or 1.0)


def load_tokenizer(spec: ModelSpec) -> Any:
    from transformers import AutoTokenizer

    place = local_copy(spec.path)
    with _said("tokenizer", spec):
        return AutoTokenizer.from_pretrained(place, revision=spec.revision)


def load_model(spec: ModelSpec) -> Any:
    """The frozen base on this worker's device, in evaluation mode."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    check_package(spec.quantization)
    place = local_copy(spec.path)
    with _said("model", spec):
        config = AutoConfig.from_pretrained(place, revision=spec.revision)
    if reason := why_no_base(config.to_dict()):
        raise UserError(f"model.path {spec.path!r}: {reason}")
    text = config.get_text_config()
    if getattr(text, "pad_token_id", None) and text.pad_token_id >= text.vocab_size:
        text.pad_token_id = None  # nothing is padded here, and a token without a row cannot be
    with _said("model", spec), _no_bar():
        model = AutoModelForCausalLM.from_pretrained(
            place, config=config, revision=spec.revision, dtype=getattr(torch, spec.dtype), use_safetensors=True
        )
    model.requires_grad_(False)
    if spec.quantization != "none":
        from seal_ray.model.quantized import quantize

        quantize(model, spec.quantization, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    if not torch.cuda.is_available():
        return model.eval()
    if 0 < spec.gpus < 1:  # what this process caches beyond its part would be missing for those it shares with
        torch.cuda.set_per_process_memory_fraction(spec.memory)
    return model.eval().to("cuda")


@contextmanager
def _no_bar() -> Iterator[None]:
    """Transformers shows a bar for the seconds that it loads, in the middle of a worker's log.

    What it warns of goes where all else that is logged goes, and not past that to the terminal.
    """
    from transformers.utils import logging

    logging.disable_default_handler()
    logging.enable_propagation()
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def _said(what: str, spec: ModelSpec) -> Iterator[None]:
    """What Transformers cannot load is the user's to set right."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(f"model.path {spec.path!r}: no {what} could be loaded: {first_line(error)}") from None
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise UserError(f"model.path {spec.path!r}: its weights are of other sizes than its config.json says") from None
