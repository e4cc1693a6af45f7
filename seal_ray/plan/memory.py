"""What a device will hold, in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from seal_ray.config import Config
from seal_ray.model.architecture import Shape
from seal_ray.model.quantization import BLOCK, Quantization, bytes_of
from seal_ray.plan.cluster import Work
from seal_ray.plan.rates import BYTES, CACHE_TOKENS
from seal_ray.plan.workers import AT_ONCE
from seal_ray.types import LoraSpec

TOKENS_PER_STEP, ON_A_CPU = 16384, 2048
"""The limit of `seal_ray.bank.memory`."""
VLLM_SHARE = 0.9
"""The share of a GPU's memory, as in `seal_ray.workers.sampler`."""


@dataclass(frozen=True)
class Memory:
    """The memory of one device, by what holds it."""

    trainer: dict[str, int]
    sampler: dict[str, int]

    @property
    def training(self) -> int:
        return sum(self.trainer.values())

    @property
    def sampling(self) -> int:
        return sum(self.sampler.values())


def per_slot(config: Config, shape: Shape) -> int:
    """Weights, gradient and two moments of a slot, and the copy in the base's precision that passes compute with."""
    master = 8 if config.model.dtype == "float64" else 4
    computed = BYTES[config.model.dtype]
    return shape.adapter(config.trial.lora) * (4 * master + (computed if computed != master else 0))


def plan_memory(config: Config, shape: Shape, work: Work, engine: str, device: float) -> Memory:
    """`device` is one GPU's bytes, of which vLLM takes its share whatever the model; 0 when it is not known."""
    size, slots, lora = BYTES[config.model.dtype], config.workers.slots, config.trial.lora
    weights = base_bytes(config, shape, config.model.quantization)
    learnt = config.update.lora if config.run.rounds else config.trial.lora
    policy = shape.adapter(learnt) // learnt.rank * work.rank * size
    one_step = max(slots * work.step, work.update_step)
    most = TOKENS_PER_STEP if config.workers.gpus_per_trainer else max(ON_A_CPU, config.model.max_length)
    tokens = min(one_step, config.workers.max_tokens_per_microbatch or most)
    trainer = {
        "base weights": weights,
        "policy": policy,
        "adapters and optimizer": slots * per_slot(config, shape),
        "activations": round(tokens * activation(shape, size, lora)),
        "keys and values": round(min(CACHE_TOKENS, slots * work.rows * work.question) * shape.cache_numbers * size),
    }
    if engine == "endpoint":
        return Memory(trainer, {})
    whole = shape.parameters * size if engine == "vllm" else weights
    sampler = {"base weights": whole, "policy": policy}
    if engine == "vllm" and device:
        share = min(1.0, config.workers.gpus_per_sampler or 1.0)
        sampler["keys and values"] = max(0, round(VLLM_SHARE * share * device) - whole - policy)
    else:
        held = min(CACHE_TOKENS, AT_ONCE * work.text)
        sampler["keys and values"] = round(held * shape.cache_numbers * size)
    return Memory(trainer, sampler)


def base_bytes(config: Config, shape: Shape, kind: Quantization) -> int:
    """What the base takes, kept so."""
    size, layers = BYTES[config.model.dtype], shape.layers * sum(a * b for a, b in shape.linears.values())
    return (shape.parameters - layers) * size + bytes_of(kind, layers, size)


def beyond_one_gpu(config: Config, shape: Shape, device: float) -> tuple[str, str]:
    """What is wrong with a base that is larger than one GPU of so many bytes, and what to do; empty where it is not.

    A trainer has the whole of it on one device, and several GPUs do not share it.
    """
    kind = config.model.quantization
    held = base_bytes(config, shape, kind)
    if held <= device:
        return "", ""
    wrong = (
        f"the base alone takes {held / 1e9:.1f} GB, and a trainer keeps all of it on one GPU, which has "
        f"{device / 1e9:.1f} GB: there, up to {device / held * shape.parameters / 1e9:.1f} billion parameters fit"
    )
    fewer = [bits for bits in BLOCK if bits != kind and base_bytes(config, shape, bits) <= device]
    bits = f'model.quantization = "{fewer[0]}", ' if fewer else ""
    return wrong, f"take {bits}a smaller model.path or model.dtype, or a larger GPU"


def activation(shape: Shape, size: int, lora: LoraSpec) -> float:
    """Bytes that a trained token keeps for the backward pass; every token is counted as one that is learnt."""
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    # Norms' inputs and outputs, queries, keys, values, attention's output, and the feed-forward layer's four.
    layer = 6 * shape.width + 2 * queries + 2 * keys + 4 * shape.inner
    logits = 2 * shape.vocabulary * size
    return (shape.layers * layer + len(shape.sites(lora)) * lora.rank) * size + logits
