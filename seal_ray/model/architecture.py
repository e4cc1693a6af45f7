"""A model's size and form, read from its config.json or from a table of well-known ones."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seal_ray.model.kinds import is_named, not_adapted, why_no_base
from seal_ray.model.locate import local_copy, resolve
from seal_ray.plain import first_line
from seal_ray.types import ALL_LINEAR, LoraSpec, UserError

if TYPE_CHECKING:
    from seal_ray.config import Config  # the bench runs on machines that lack what it needs

HEAD = "lm_head"
"""The output head; where it is tied to the embeddings, no file holds it under this name."""
_EMBEDDINGS = ("embed_tokens", "embed_in", "wte", "wpe")


@dataclass(frozen=True)
class Shape:
    """A dense decoder with gated feed-forward layers, as Llama, Qwen, Mistral and Gemma are."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    tied: bool
    """Input and output embeddings are one matrix."""

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Input and output width of each linear module of a layer."""
        queries, keys = self.heads * self.head_width, self.kv_heads * self.head_width
        return {
            "q_proj": (self.width, queries),
            "k_proj": (self.width, keys),
            "v_proj": (self.width, keys),
            "o_proj": (queries, self.width),
            "gate_proj": (self.width, self.inner),
            "up_proj": (self.width, self.inner),
            "down_proj": (self.inner, self.width),
        }

    @property
    def multiplied(self) -> int:
        """Weights that every token is multiplied with: all but the input embeddings."""
        return self.layers * sum(a * b for a, b in self.linears.values()) + self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        norms = (2 * self.layers + 1) * self.width
        return self.multiplied + norms + (0 if self.tied else self.vocabulary * self.width)

    def adapter(self, lora: LoraSpec) -> int:
        """Numbers in an adapter of this kind."""
        return lora.rank * sum(map(sum, self.sites(lora)))

    def sites(self, lora: LoraSpec) -> list[tuple[int, int]]:
        """Input and output width of each module that an adapter sits on. A number in a target's path is a layer's."""
        widths = {**self.linears, HEAD: (self.width, self.vocabulary)}
        chosen = set[tuple[int, str]]()
        for target in lora.targets:
            *path, name = target.split(".")
            if name not in (*widths, ALL_LINEAR):
                raise UserError(f"no linear module is named {name!r}; known: {', '.join(self.linears)}")
            named = [int(part) for part in path if part.isdigit()]
            layers = [0] if name == HEAD else named or range(self.layers)
            chosen |= {(layer, each) for layer in layers for each in (self.linears if name == ALL_LINEAR else [name])}
        return [widths[name] for _, name in chosen]

    @property
    def cache_numbers(self) -> int:
        """Keys and values of one token."""
        return 2 * self.layers * self.kv_heads * self.head_width


TABLE = {
    "smollm2-135m": Shape(30, 576, 1536, 9, 3, 64, 49_152, True),
    "qwen2.5-0.5b": Shape(24, 896, 4864, 14, 2, 64, 151_936, True),
    "qwen2.5-1.5b": Shape(28, 1536, 8960, 12, 2, 128, 151_936, True),
    "qwen2.5-3b": Shape(36, 2048, 11_008, 16, 2, 128, 151_936, True),
    "qwen2.5-7b": Shape(28, 3584, 18_944, 28, 4, 128, 152_064, False),
    "qwen2.5-14b": Shape(48, 5120, 13_824, 40, 8, 128, 152_064, False),
    "qwen2.5-32b": Shape(64, 5120, 27_648, 40, 8, 128, 152_064, False),
    "qwen2.5-72b": Shape(80, 8192, 29_568, 64, 8, 128, 152_064, False),
    "qwen3-0.6b": Shape(28, 1024, 3072, 16, 8, 128, 151_936, True),
    "qwen3-1.7b": Shape(28, 2048, 6144, 16, 8, 128, 151_936, True),
    "qwen3-4b": Shape(36, 2560, 9728, 32, 8, 128, 151_936, True),
    "qwen3-8b": Shape(36, 4096, 12_288, 32, 8, 128, 151_936, False),
    "llama-3.2-1b": Shape(16, 2048, 8192, 32, 8, 64, 128_256, True),
    "llama-3.2-3b": Shape(28, 3072, 8192, 24, 8, 128, 128_256, True),
    "llama-3.1-8b": Shape(32, 4096, 14_336, 32, 8, 128, 128_256, False),
    "llama-3.1-70b": Shape(80, 8192, 28_672, 64, 8, 128, 128_256, False),
}
"""Published shapes, for models that are not on this machine."""


def model_shape(path: str) -> Shape:
    """The shape of what `model.path` names, from the table, a folder or the hub's cache. Nothing is downloaded."""
    name = path.lower().rpartition("/")[2]
    known = max((key for key in TABLE if name.startswith(key)), key=len, default="")
    if known and not Path(path).expanduser().exists():
        return TABLE[known]
    folder = model_folder(path)
    if folder is None:
        raise UserError(f"model.path {path!r} is not on this machine; download it, or name one of {', '.join(TABLE)}")
    return read_shape(folder / "config.json")


def model_folder(path: str) -> Path | None:
    """The folder of the model's files; None when they are not on this machine. A GGUF file's is made."""
    from huggingface_hub import try_to_load_from_cache

    if "://" in path:
        return None
    name = resolve(path)
    if Path(name).exists():
        return Path(local_copy(name))
    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def check_kind(path: str) -> None:
    """Refuse a model on this machine that does not continue text; of any other, its workers will say so."""
    folder = model_folder(path)
    if reason := why_no_base(_config(path, folder) if folder else {}):
        raise UserError(f"model.path {path!r}: {reason}")


def check_targets(config: Config, updates: bool = False) -> None:
    """Refuse targets that name no module of a model on this machine; for any other, its workers will say so.

    Those of updates are looked at where there is a round or a warm start, or the policy `updates` otherwise.
    """
    path, trained = config.model.path, {"trial.lora.targets": config.trial.lora}
    if updates or config.run.rounds or config.update.warm_start:
        trained["update.lora.targets"] = config.update.lora
    known, barred = module_paths(path)
    names = sorted({HEAD, *(name.rpartition(".")[2] for name in known)})
    for where, lora in trained.items():
        for target in lora.targets if known else ():
            if target in (ALL_LINEAR, HEAD) or any(is_named(name, target) for name in known):
                continue
            if target.rpartition(".")[2] in barred:
                left = ", ".join(names)
                raise UserError(
                    f"{where}: PEFT would not read an adapter on {target!r} of {path} as trained; take {left}"
                )
            near = difflib.get_close_matches(target, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}, or {ALL_LINEAR!r}"
            raise UserError(f"{where}: no linear module of {path} is named {target!r}; {hint}")


def module_paths(path: str) -> tuple[list[str], frozenset[str]]:
    """The modules that hold a matrix and may be adapted, and the names of those that may not.

    None where the model is not here.
    """
    found, experts = matrices(path)
    folder = model_folder(path)
    barred = not_adapted(_config(path, folder).get("model_type", "") if folder else "", experts)
    return [name for name in found if name.rpartition(".")[2] not in {*_EMBEDDINGS, *barred}], barred


def matrices(path: str) -> tuple[dict[str, tuple[int, int]], bool]:
    """Input and output width of each module that holds a matrix, and whether the model has experts.

    They are read from the headers of the model's files; none where it is not here.
    """
    from safetensors import safe_open

    found, experts = dict[str, tuple[int, int]](), False
    folder = model_folder(path)
    for file in sorted(folder.glob("*.safetensors")) if folder else ():
        try:
            with safe_open(file, framework="numpy") as tensors:
                keys = list(tensors.keys())
                experts = experts or any(".experts." in name for name in keys)
                shapes = ((name, tensors.get_slice(name).get_shape()) for name in keys if name.endswith(".weight"))
                found |= {name[:-7]: (shape[1], shape[0]) for name, shape in shapes if len(shape) == 2}
        except Exception as error:  # the library has a class of its own for files it cannot read
            raise UserError(f"model.path {path!r}: {file.name} is no safetensors file: {error}") from None
    return found, experts


def _config(path: str, folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise UserError(f"model.path {path!r}: its config.json cannot be read: {first_line(error)}") from None


class NoShape(UserError):
    """The model is of a kind whose size is not worked out from its config."""


_EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
_STATE_SIZES = ("linear_conv_kernel_dim", "conv_L_cache", "mamba_d_state", "ssm_state_size")


def read_shape(file: Path) -> Shape:
    """The shape in a config.json; `NoShape` for a model with experts, or layers that carry a state."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{file}: is no JSON: {error}") from None
    return shape_in(said, str(file))


def shape_in(config: dict[str, Any], where: str) -> Shape:
    """The shape that a model's config says; `NoShape` where it says of what kind it is, and that has none."""
    tree = config.get("text_config", config)
    has = "experts" if any(tree.get(name) for name in _EXPERT_COUNTS) else ""
    if has or any(tree.get(name) for name in _STATE_SIZES):
        has = has or "layers that carry a state"
        raise NoShape(f"{where}: the size, time and memory of a model with {has} are not worked out")
    try:
        heads, width = tree["num_attention_heads"], tree["hidden_size"]
        return Shape(
            tree["num_hidden_layers"],
            width,
            tree["intermediate_size"],
            heads,
            tree.get("num_key_value_heads") or heads,
            tree.get("head_dim") or width // heads,
            tree["vocab_size"],
            bool(tree.get("tie_word_embeddings", False)),
        )
    except KeyError as error:
        raise UserError(f"{where}: says no shape that can be planned with: {error} is missing") from None
