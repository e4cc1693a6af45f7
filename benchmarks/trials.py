"""Trials a second: as published, with PEFT and `Trainer` one at a time, and in a bank of several sizes.

    python -m benchmarks.trials --shape llama-30m
    python -m benchmarks.trials --shape qwen2.5-7b --device cuda --dtype bfloat16

All on one model, in one process, in turn, several times over. A trial is as the recorded ones are: its texts for ten
epochs in batches of one, then its questions. Its steps are timed on a sample of texts, the same for all variants,
spread evenly over the recorded lengths; making its adapter and answering its questions are timed beside that.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import machine
from benchmarks.baselines import PADDED, InBank, Material, OneAtATime, Published, Variant
from benchmarks.models import build
from benchmarks.workload import LORA, Workload, workload
from seal_ray.model.flops import per_trained_pair, per_trained_token
from seal_ray.types import UserError

COLUMNS = ("trials/s", "tokens/s", "GFLOP/s", "of peak", "memory", "× published", "× peft")
WIDTHS = (10, 10, 10, 9, 10, 13, 8)


@dataclass(frozen=True)
class Settings:
    shape: str = "llama-30m"
    model: str = ""
    """A model's folder or hub name, instead of random weights of a shape."""
    lengths: str = ""
    device: str = ""
    dtype: str = ""
    slots: tuple[int, ...] = (1, 4, 16, 32)
    pairs: int = 3
    texts: int = 128
    padded: int = 2
    """Padded steps the published way is timed by."""

    @property
    def place(self) -> torch.device:
        return torch.device(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def precision(self) -> str:
        return self.dtype or ("bfloat16" if self.place.type == "cuda" else "float32")


@dataclass(frozen=True)
class Timed:
    """A variant, measured once."""

    step: float
    """Seconds of a training step, for each trial that is under way."""
    rest: float
    """Seconds of a trial besides its steps."""
    peak_bytes: int

    @classmethod
    def of(cls, variant: Variant, material: Material, place: torch.device) -> Timed:
        held = machine.Peak(place)
        step, rest = variant.step(material), variant.rest(material)
        return cls(step, rest, held.bytes())

    def seconds(self, work: Workload) -> float:
        """What a whole trial takes, from those of its steps that were done."""
        return (work.steps - 1) * self.step + self.rest


def warm(variant: Variant, material: Material, slots: int) -> None:
    """Do a little of everything, so that what is made once is made before anything is timed."""
    little = Material(material.texts[: max(32, slots)], material.prompts, 2)
    variant.step(little), variant.rest(little)


@dataclass(frozen=True)
class Row:
    """One variant's median figures."""

    name: str
    trials_per_s: float
    tokens_per_s: float
    """Real tokens trained, no padding counted."""
    flops_per_s: float
    """Operations that the real tokens need; what is spent on padding is not counted."""
    flops_share: float
    peak_bytes: int
    vs_published: float
    vs_peft: float


@dataclass(frozen=True)
class Found:
    what: str
    machine: str
    peak_flops: float
    """At multiplying large matrices, measured in this process."""
    trial: str
    """What a trial is, in words."""
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        head = {"what": self.what, "machine": self.machine, "peak_flops": self.peak_flops, "trial": self.trial}
        return head | {"variants": {row.name: {k: v for k, v in vars(row).items() if k != "name"} for row in self.rows}}


def bench_trials(settings: Settings, say: Callable[[str], None] = lambda line: None) -> Found:
    """Measure every variant in turn, `settings.pairs` times, and compare them pair by pair."""
    work, place = workload(settings.lengths), settings.place
    model, tokenizer = build(settings.shape, settings.model, settings.precision, settings.device or place.type, PADDED)
    material = Material.of(work, settings.texts, model.get_input_embeddings().weight.shape[0], PADDED)
    variants: list[Variant] = [Published(model, settings.padded), OneAtATime(model)]
    variants += [InBank(model, tokenizer, slots) for slots in settings.slots]
    peak = machine.matmul_peak(place, model.dtype)
    for variant in variants[1:]:
        warm(variant, material, max(settings.slots))
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    memory = dict.fromkeys(seconds, 0)
    for pair in range(settings.pairs):
        for variant in variants:
            once = Timed.of(variant, material, place)
            seconds[variant.name].append(once.seconds(work))
            memory[variant.name] = max(memory[variant.name], once.peak_bytes)
            took = f"{1e3 * once.step:9.2f} ms a step{once.rest:9.3f} s besides"
            say(f"{pair + 1}/{settings.pairs} {variant.name:10}{took}")
            gc.collect()
    rows = [
        Row(
            name,
            1 / median(found),
            work.tokens / median(found),
            flops(model, work) / median(found),
            flops(model, work) / median(found) / peak,
            memory[name],
            *(median(a / b for a, b in zip(seconds[other], found, strict=True)) for other in ("published", "peft")),
        )
        for name, found in seconds.items()
    ]
    what = f"{settings.model or settings.shape}, {sum(p.numel() for p in model.parameters()) / 1e6:,.0f} M parameters"
    trial = f"{work.steps:.1f} steps, {work.tokens:,.0f} tokens, {work.questions} questions ({work.source})"
    return Found(f"{what}, {settings.precision}", machine.name(place), peak, trial, tuple(rows))


def flops(model: Any, work: Workload) -> float:
    """What a trial's real tokens need: a forward pass and one back through the frozen base, and the adapter's own."""
    linears = {name: m.weight.numel() for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    adapted = sum(
        LORA.rank * sum(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.endswith(LORA.targets)
    )
    config = model.config
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", 0) or config.hidden_size // heads)
    pairs = work.epochs * sum(length * length for length in work.lengths) / len(work.edits) / 2
    attention = per_trained_pair(config.num_hidden_layers, width) * pairs
    training = work.tokens * per_trained_token(sum(linears.values()), adapted) + attention
    asked = work.questions * (work.prompt + work.answer)
    return training + asked * 2 * (sum(linears.values()) + adapted)


def table(found: Found) -> str:
    lines = [
        f"{found.what}, on {found.machine}; matrices multiply at {found.peak_flops / 1e9:,.0f} GFLOP/s",
        f"a trial: {found.trial}",
        f"{'':12}" + "".join(f"{name:>{width}}" for name, width in zip(COLUMNS, WIDTHS, strict=True)),
    ]
    for row in found.rows:
        lines.append(
            f"{row.name:12}{row.trials_per_s:10.4f}{row.tokens_per_s:10,.0f}{row.flops_per_s / 1e9:10,.0f}"
            f"{row.flops_share:9.1%}{row.peak_bytes / 2**20:7,.0f}MiB{row.vs_published:13.2f}{row.vs_peft:8.2f}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """The same as `python -m benchmarks trials`, for machines without the rest."""
    default = Settings()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trials", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--shape", default=default.shape)
    parser.add_argument("--model", default="", metavar="PATH")
    parser.add_argument("--lengths", default="", metavar="FILE", help="a recorded round")
    parser.add_argument("--device", default="", help="cpu or cuda; cuda where there is one")
    parser.add_argument("--dtype", default="", help="bfloat16 on a GPU, float32 on a CPU")
    parser.add_argument("--slots", default=",".join(map(str, default.slots)))
    parser.add_argument("--pairs", type=int, default=default.pairs)
    parser.add_argument("--texts", type=int, default=default.texts, help="timed, of all; a multiple of the most slots")
    parser.add_argument("--padded", type=int, default=default.padded, help="padded steps that are timed")
    parser.add_argument("--chart", default="", metavar="FILE")
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = vars(parser.parse_args(argv))
    chart, as_json = given.pop("chart"), given.pop("as_json")
    slots = tuple(int(count) for count in given.pop("slots").split(","))
    try:
        show(Settings(slots=slots, **given), chart, as_json)
    except UserError as error:
        sys.exit(f"bench: {error}")


def show(settings: Settings, chart: str, as_json: bool) -> None:
    """Measure, print, and draw where a file is named."""
    found = bench_trials(settings, lambda line: print(line, file=sys.stderr, flush=True))
    if chart:
        from benchmarks.chart import draw

        Path(chart).write_text(draw(found), encoding="utf-8")
    print(json.dumps(found.as_json()) if as_json else table(found))


if __name__ == "__main__":
    main()
