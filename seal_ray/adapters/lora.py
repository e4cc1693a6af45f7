"""A LoRA adapter as plain arrays, saved and loaded as a PEFT folder. No torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from seal_ray.plain import decoded, one_line
from seal_ray.types import AdapterRef, UserError

PREFIX = "base_model.model."
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_LARGEST = 1e300
"""No adapter has an alpha like this; an integer may be larger than any float."""


def tensor_names(module: str) -> tuple[str, str]:
    """PEFT's names of a module's A `[rank, in]` and B `[out, rank]`."""
    return f"{PREFIX}{module}.lora_A.weight", f"{PREFIX}{module}.lora_B.weight"


@dataclass(frozen=True)
class Adapter:
    """LoRA weights under PEFT's names; what is added to a linear's output is `alpha / rank · x Aᵀ Bᵀ`."""

    rank: int
    alpha: float
    targets: tuple[str, ...]
    tensors: dict[str, np.ndarray] = field(repr=False)

    @cached_property
    def ref(self) -> AdapterRef:
        """Its name: equal for equal content, on every machine."""
        digest = hashlib.sha256(json.dumps([self.rank, float(self.alpha), sorted(self.targets)]).encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(json.dumps([name, tensor.dtype.str, tensor.shape]).encode())
            digest.update(np.ascontiguousarray(tensor).data)
        return AdapterRef(digest.hexdigest()[:24])

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of the adapted modules in the base model."""
        suffix = ".lora_A.weight"
        return tuple(name[len(PREFIX) : -len(suffix)] for name in self.tensors if name.endswith(suffix))

    def pair(self, module: str) -> tuple[np.ndarray, np.ndarray]:
        """A `[rank, in]` and B `[out, rank]` of a module."""
        name_a, name_b = tensor_names(module)
        return self.tensors[name_a], self.tensors[name_b]

    def files(self, base: str = "") -> dict[str, bytes]:
        """The content of a standard PEFT folder by its files' names; it may name the base it belongs to."""
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "target_modules": list(self.targets),
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            **({"base_model_name_or_path": base} if base else {}),
        }
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in self.tensors.items()}
        weights = save(tensors, metadata={"format": "pt"})
        return {WEIGHTS_FILE: weights, CONFIG_FILE: f"{json.dumps(config, indent=2)}\n".encode()}

    def save(self, folder: str | Path, base: str = "") -> None:
        """Write a standard PEFT folder, which PEFT, Transformers and vLLM load."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files(base).items():
            (folder / name).write_bytes(data)

    @classmethod
    def load(cls, folder: str | Path) -> Adapter:
        """Read a PEFT folder; `UserError` when it is none, or uses what a plain LoRA does not have."""
        folder = Path(folder)
        if not all((folder / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE)):
            raise UserError(f"{folder}: not a PEFT adapter folder; give one with {CONFIG_FILE} and {WEIGHTS_FILE}")
        try:
            config = decoded((folder / CONFIG_FILE).read_text())
            tensors = load_file(folder / WEIGHTS_FILE)
            rank, alpha, targets = config["r"], config["lora_alpha"], config["target_modules"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise UserError(f"{folder}: not a PEFT adapter folder ({error}); give one with {CONFIG_FILE}") from error
        if not isinstance(config, dict):
            raise UserError(f"{folder}: {CONFIG_FILE} is not a table of settings; give a PEFT adapter folder")
        odd = [name for name in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern") if config.get(name)]
        odd += [name for name in tensors if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
        if odd or not (isinstance(targets, list) and all(isinstance(target, str) for target in targets)):
            what = odd[0] if odd else f"target_modules {one_line(repr(targets))}"
            raise UserError(f"{folder}: {what} is not supported; give a plain LoRA adapter with named target modules")
        if not (isinstance(rank, int) and rank > 0 and isinstance(alpha, int | float) and abs(alpha) < _LARGEST):
            said = f"rank {one_line(repr(rank))} and alpha {one_line(repr(alpha))}"
            raise UserError(f"{folder}: {said} are no adapter's; give a whole {CONFIG_FILE}")
        adapter = cls(rank, alpha, tuple(sorted(targets)), tensors)
        adapter.check(folder)
        return adapter

    def check(self, name: object) -> None:
        """`UserError` when a number is not finite, or a pair of matrices does not have this rank."""
        for tensor, values in self.tensors.items():
            if not np.isfinite(values.astype(np.float32, copy=False)).all():
                raise UserError(f"{name}: {tensor} holds numbers that are not finite; train it with a smaller optim.lr")
        for module in self.modules:
            down, up = (self.tensors.get(tensor) for tensor in tensor_names(module))
            if down is None or up is None or down.shape[:1] != (self.rank,) or up.shape[1:] != (self.rank,):
                raise UserError(f"{name}: {module} does not have rank {self.rank}; give a whole {WEIGHTS_FILE}")
