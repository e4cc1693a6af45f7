"""Samples a second with `transformers` and with `vllm`, and a trial's questions answered in the bank and through vLLM.

The same model, prompts and machine, in one run; both engines are up, and take turns. Questions are answered by trials
that are really trained, with a base that has the micro-world's tasks; other models are only sampled from.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import machine
from benchmarks.models import build
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.model.loading import ModelSpec
from seal_ray.model.locate import SHIPPED, resolve
from seal_ray.types import BASE, Prompt, SampleRequest, Trial
from seal_ray.workers.engines.vllm import VllmEngine
from seal_ray.workers.sampler import EngineSpec, Sampler
from seal_ray.workers.trainer import Trainer

ENGINES = ("transformers", "vllm")
_SLOTS = 16
_PROMPT_TOKENS = 160  # of a random model's prompts; about as long as the micro-world's
_WARM = 4  # requests that each engine answers before the first is timed


@dataclass(frozen=True)
class Settings:
    model: str = "microworld"
    shape: str = ""
    passages: int = 16
    per_passage: int = 5
    max_tokens: int = 200
    pairs: int = 3
    trials: int = 32


@dataclass(frozen=True)
class Sampling:
    """The pair that took neither longest nor shortest."""

    samples_per_s: float
    tokens_per_s: float
    seconds: float


@dataclass(frozen=True)
class Asking:
    """The same trials, answered in the bank that trained them or through vLLM."""

    bank_trials_per_s: float
    vllm_trials_per_s: float
    answers: int
    agree: float
    """Share of greedy answers that are the same text."""


@dataclass(frozen=True)
class Found:
    what: str
    machine: str
    requests: int
    sampling: dict[str, Sampling]
    asking: Asking | None


def bench_samples(settings: Settings, say: Callable[[str], None]) -> Found:
    """Starts both engines here, and measures."""
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        path, prompts = _material(settings, folder)
        gpu = place.type == "cuda"
        spec = ModelSpec(path, None, "bfloat16" if gpu else "float32", 2048, gpus=0.4 if gpu else 0)
        what = settings.shape or settings.model
        return asyncio.run(_measured(settings, spec, prompts, what, machine.name(place), say))


async def _measured(
    settings: Settings, spec: ModelSpec, prompts: Sequence[Prompt], what: str, where: str, say: Callable[[str], None]
) -> Found:
    samplers = {name: Sampler(spec, EngineSpec(name, max_rank=16, trial_adapters=_SLOTS)) for name in ENGINES}
    for name, sampler in samplers.items():
        say(f"starting {name}")
        await sampler.setup()
    requests = [
        SampleRequest(BASE, prompt, seed, max_tokens=settings.max_tokens)
        for seed, prompt in enumerate(prompt for prompt in prompts for _ in range(settings.per_passage))
    ]
    try:
        sampling = await sampled(samplers, requests, settings.pairs, say)
        knows_tasks = not settings.shape and settings.model in SHIPPED
        asking = await _asked(settings, spec, samplers, say) if knows_tasks else None
    finally:
        await asyncio.gather(*(sampler.close() for sampler in samplers.values()))
    return Found(what, where, len(requests), sampling, asking)


async def sampled(
    samplers: dict[str, Sampler], requests: Sequence[SampleRequest], pairs: int, say: Callable[[str], None]
) -> dict[str, Sampling]:
    """Every engine is given all requests at once, `pairs` times in turn, each time with nothing of a prompt cached."""
    found: dict[str, list[Sampling]] = {name: [] for name in samplers}
    for sampler in samplers.values():
        await asyncio.gather(*map(sampler.sample, requests[:_WARM]))
    for _ in range(pairs):
        for name, sampler in samplers.items():
            if isinstance(engine := sampler._engine, VllmEngine):
                await engine.empty_cache()
            seconds, written = await _timed(asyncio.gather(*map(sampler.sample, requests)))
            tokens = sum(completion.tokens for completion in written)
            found[name].append(Sampling(len(requests) / seconds, tokens / seconds, seconds))
            say(f"{name}: {len(requests) / seconds:.1f} samples/s")
    return {name: sorted(rows, key=lambda row: row.seconds)[len(rows) // 2] for name, rows in found.items()}


async def _asked(
    settings: Settings, spec: ModelSpec, samplers: dict[str, Sampler], say: Callable[[str], None]
) -> Asking:
    trainer = Trainer(spec, _SLOTS, 0)
    await trainer.setup()
    domain = MicroWorld()
    trials = []
    for seed, task in enumerate(domain.tasks("test", settings.trials, seed=1)):
        baseline = domain.baseline("passage only", task, seed)
        assert baseline
        trials.append(Trial(task.id, BASE, baseline.recipe, seed, baseline.questions, 2, domain.stop))
    return await asked(trainer, samplers["vllm"], trials, settings.pairs, say)


async def asked(
    trainer: Trainer, sampler: Sampler, trials: Sequence[Trial], pairs: int, say: Callable[[str], None]
) -> Asking:
    """All trials trained and answered, one way and the other in turn."""

    async def in_bank(trial: Trial) -> tuple[str, ...]:
        return (await trainer.run_trial(trial)).answers

    async def through_vllm(trial: Trial) -> tuple[str, ...]:
        _, adapter = await trainer.train_adapter(trial)
        return tuple(answer.text for answer in await sampler.answer(adapter, trial))

    rates: dict[str, list[float]] = {"bank": [], "vllm": []}
    pairs_of_answers: list[tuple[str, str]] = []
    for _ in range(pairs):
        bank_seconds, by_bank = await _timed(asyncio.gather(*map(in_bank, trials)))
        vllm_seconds, by_vllm = await _timed(asyncio.gather(*map(through_vllm, trials)))
        rates["bank"].append(len(trials) / bank_seconds)
        rates["vllm"].append(len(trials) / vllm_seconds)
        say(f"trials/s: {rates['bank'][-1]:.2f} answered in the bank, {rates['vllm'][-1]:.2f} through vllm")
        for mine, theirs in zip(by_bank, by_vllm, strict=True):
            pairs_of_answers += zip(mine, theirs, strict=True)
    agree = sum(mine == theirs for mine, theirs in pairs_of_answers) / len(pairs_of_answers)
    return Asking(median(rates["bank"]), median(rates["vllm"]), len(pairs_of_answers) // pairs, agree)


async def _timed(work: Awaitable[Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = await work
    return time.perf_counter() - started, result


def _material(settings: Settings, folder: str) -> tuple[str, Sequence[Prompt]]:
    """The model's folder, and prompts for it."""
    if not settings.shape:
        domain = MicroWorld()
        return resolve(settings.model), [domain.prompt(task) for task in domain.tasks("train", settings.passages, 1)]
    longest = _PROMPT_TOKENS + settings.max_tokens
    model, tokenizer = build(settings.shape, "", "float32", "cpu", longest)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    draw = random.Random(0)
    numbers = [number for number in range(1, model.config.vocab_size) if "0" not in str(number)]  # "0" splits a word
    prompts = [" ".join(map(str, draw.choices(numbers, k=_PROMPT_TOKENS))) for _ in range(settings.passages)]
    return str(Path(folder)), prompts


def table(found: Found) -> str:
    lines = [
        f"{found.what}, on {found.machine}: {found.requests} samples at once",
        f"{'':14}{'samples/s':>10}{'tokens/s':>10}{'seconds':>9}",
    ]
    for name, row in found.sampling.items():
        lines.append(f"{name:14}{row.samples_per_s:10.2f}{row.tokens_per_s:10,.0f}{row.seconds:9.2f}")
    if asking := found.asking:
        lines.append(
            f"trials, trained and answered: {asking.bank_trials_per_s:.2f}/s in the bank, "
            f"{asking.vllm_trials_per_s:.2f}/s through vllm; "
            f"{asking.agree:.2%} of {asking.answers} greedy answers agree"
        )
    return "\n".join(lines)


def show(settings: Settings, as_json: bool) -> None:
    """Measure and print."""
    found = bench_samples(settings, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(asdict(found)) if as_json else table(found))
