"""How long each kind of work takes on one worker that has its device for itself.

Every cost is linear: so much for a step, so much for each slot, row or token in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from seal_ray.config import Config
from seal_ray.model.architecture import Shape
from seal_ray.model.flops import per_trained_token
from seal_ray.types import UserError

CACHE_TOKENS = 65536
"""Keys and values a bank holds at once while it answers; as in `seal_ray.bank.writing`."""


@dataclass(frozen=True)
class Rates:
    """Seconds."""

    train_step: float
    train_token: float
    train_slot: float
    ask_step: float
    ask_row: float
    ask_token: float
    """For each token of a prompt."""
    sample_step: float
    sample_row: float
    sample_token: float
    start: float
    """Until a worker that was asked for is ready."""
    policy: float = 1.0
    """To hand a new policy to all workers."""
    driver: float = 0.002
    """Of the driver's own time for each finished call."""

    def training(self, slots: float, tokens: float) -> float:
        """One step of a bank."""
        return self.train_step + slots * self.train_slot + tokens * self.train_token

    def asking(self, rows: int, prompt: float, steps: int) -> float:
        """A batch of questions of `prompt` tokens each, answered in up to `steps` tokens."""
        if not rows:
            return 0.0
        passes = -(-rows // max(1, int(CACHE_TOKENS // max(1.0, prompt + steps))))
        return passes * (steps + 1) * self.ask_step + rows * (steps * self.ask_row + prompt * self.ask_token)


@dataclass(frozen=True)
class GPU:
    """Published figures: dense peak by precision in TFLOP/s, memory in GB, bandwidth in TB/s."""

    bf16: float
    fp32: float
    fp64: float
    memory: float
    bandwidth: float

    def peak(self, dtype: str) -> float:
        tera = {"float64": self.fp64, "float32": self.fp32}.get(dtype, self.bf16)
        return tera * 1e12


GPUS = {
    "b200": GPU(2250, 75, 37, 180, 7.7),
    "h200": GPU(989, 67, 34, 141, 4.8),
    "h100": GPU(989, 67, 34, 80, 3.35),
    "a100": GPU(312, 19.5, 9.7, 80, 2.04),
    "a100-40gb": GPU(312, 19.5, 9.7, 40, 1.555),
    "mi300x": GPU(1307, 163, 81.7, 192, 5.3),
    "l40s": GPU(362, 91.6, 1.43, 48, 0.864),
    "l4": GPU(121, 30.3, 0.47, 24, 0.3),
    "a10g": GPU(70, 31.5, 0.98, 24, 0.6),
    "rtx-6000-ada": GPU(364, 91.1, 1.42, 48, 0.96),
    "rtx-a6000": GPU(155, 38.7, 0.6, 48, 0.768),
    "rtx-5090": GPU(210, 104.8, 1.64, 32, 1.792),
    "rtx-4090": GPU(165, 82.6, 1.29, 24, 1.008),
    "rtx-3090": GPU(71, 35.6, 0.56, 24, 0.936),
}

COMPUTE, TRANSFER = 0.4, 0.6
"""Shares of the published peak that matrix products and memory traffic are taken to reach."""
KERNELS, LAUNCH = 120, 5e-6
"""Kernels a layer launches in a training step of the bank, and seconds each; a third of them when it decodes."""
LAUNCHED_BY_VLLM = 0.1
"""What CUDA graphs leave of the launches."""
START, LOADING = 40.0, 1e9
"""Seconds for a worker's process and its imports, and bytes of weights it loads a second."""
BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


def gpu_named(name: str) -> GPU:
    if name.lower() not in GPUS:
        raise UserError(f"--gpu {name!r} is unknown; known: {', '.join(GPUS)}")
    return GPUS[name.lower()]


def published_rates(config: Config, shape: Shape, gpu: GPU, engine: str, context: float) -> Rates:
    """From counted operations and the GPU's published peak. `context` is the usual length while decoding."""
    dtype, size = config.model.dtype, BYTES[config.model.dtype]
    product, traffic = gpu.peak(dtype) * COMPUTE, gpu.bandwidth * 1e12 * TRANSFER
    adapter = shape.adapter(config.trial.lora)
    read = shape.multiplied * size / traffic
    launched = shape.layers * KERNELS * LAUNCH
    forward = 2 * shape.multiplied / product
    token = per_trained_token(shape.multiplied, adapter) / product
    row = forward + context * shape.cache_numbers * size / traffic
    # Four buffers of four bytes are read, three written, one cleared and one copied into the base's precision.
    slot = adapter * 36 / traffic
    decode = launched / 3 + read
    graphs = launched / 3 * LAUNCHED_BY_VLLM + read if engine == "vllm" else decode
    return Rates(
        train_step=launched + 2 * read,
        train_token=token,
        train_slot=slot,
        ask_step=decode,
        ask_row=row + 2 * adapter / product,
        ask_token=forward,
        sample_step=graphs,
        sample_row=row,
        sample_token=forward,
        start=START + shape.parameters * size / LOADING,
    )


def published_assumptions(gpu_name: str, config: Config) -> list[str]:
    gpu = gpu_named(gpu_name)
    return [
        f"{gpu_name}: {gpu.peak(config.model.dtype) / 1e12:g} TFLOP/s in {config.model.dtype} and "
        f"{gpu.bandwidth:g} TB/s as published, of which {COMPUTE:.0%} and {TRANSFER:.0%} are reached",
        f"a layer launches {KERNELS} kernels of {LAUNCH * 1e6:g} µs in a training step, a third of that in decoding",
        f"a worker is up in {START:g} s and loads weights at {LOADING / 1e9:g} GB/s",
    ]
