"""Texts of unequal lengths, in places that are refilled or in batches that end with their longest, in pairs.

    python -m benchmarks places --model HuggingFaceTB/SmolLM2-135M-Instruct

Each text has a prompt and a length of its own, drawn evenly; the model has no say in when it ends, so both ways write
as many tokens. In batches too a text that is over is computed no further: what differs is whether others come.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.op_counts import counted_passes
from seal_ray.bank import Bank, SampleSpec
from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.model.locate import resolve

PROMPT = 40
"""Tokens of a prompt."""


@dataclass(frozen=True)
class Settings:
    model: str = "microworld"
    texts: int = 192
    places: int = 64
    shortest: int = 20
    longest: int = 160
    pairs: int = 3


@dataclass(frozen=True)
class Way:
    seconds: float
    """The median; of processors, where they do the work."""
    passes: int
    rows: int
    """Tokens computed that are none of a prompt."""


@dataclass(frozen=True)
class Found:
    settings: Settings
    tokens: int
    """Written."""
    static_rows: int
    """What batches of a fixed shape would compute: every place until its batch's longest text is over."""
    refilled: Way
    batches: Way
    ratio: float
    """How many times as long batches take: the median of the pairs."""

    def line(self) -> str:
        asked, refilled, batches = self.settings, self.refilled, self.batches
        return (
            f"{asked.texts} texts of {asked.shortest} to {asked.longest} tokens, {self.tokens} together, in "
            f"{asked.places} places: {refilled.seconds:.1f} s, {refilled.passes} passes and {refilled.rows} rows where "
            f"places are refilled; {batches.seconds:.1f} s and {batches.passes} passes in batches "
            f"({self.ratio:.2f} times as long), {self.static_rows} rows in batches of a fixed shape "
            f"({self.static_rows / refilled.rows:.2f} times as many)"
        )


def measure(settings: Settings) -> Found:
    """Write the same texts both ways in turn."""
    spec = ModelSpec(resolve(settings.model), None, "float32", PROMPT + settings.longest)
    bank = Bank(load_model(spec), load_tokenizer(spec), slots=1)
    bank.stop_criteria.eos_ids = frozenset()
    texts, places = _texts(settings, bank.vocabulary), settings.places
    prompts = sum(len(text.prompt) - 1 for text in texts)  # the pass over it writes the first token of a text
    parts = [texts[at : at + places] for at in range(0, len(texts), places)]
    refilled, batches = list[Way](), list[Way]()
    for _ in range(settings.pairs):
        refilled.append(_went(bank, prompts, lambda: _written(bank, texts, places=places)))
        batches.append(_went(bank, prompts, lambda: _written(bank, *parts, places=places)))
    ratio = median(b.seconds / a.seconds for a, b in zip(refilled, batches, strict=True))
    static = sum(places * max(text.max_new_tokens for text in part) for part in parts)
    tokens = sum(text.max_new_tokens for text in texts)
    return Found(settings, tokens, static, _usual(refilled), _usual(batches), ratio)


def _texts(settings: Settings, vocabulary: int) -> list[SampleSpec]:
    draw = random.Random(0)
    return [
        SampleSpec(
            tuple(draw.choices(range(vocabulary), k=PROMPT)),
            seed,
            max_new_tokens=draw.randint(settings.shortest, settings.longest),
        )
        for seed in range(settings.texts)
    ]


def _written(bank: Bank, *batches: Sequence[SampleSpec], places: int) -> None:
    """One batch after another."""
    sampling = bank.sampling(places)
    for batch in batches:
        for number, text in enumerate(batch):
            sampling.add(number, text)
        while sampling.busy:
            sampling.step()


def _went(bank: Bank, prompts: int, write: Callable[[], None]) -> Way:
    clock = time.process_time if bank.patched.device.type == "cpu" else time.perf_counter
    with counted_passes(bank) as passes:
        began = clock()
        write()
        return Way(clock() - began, len(passes), sum(passes) - prompts)


def _usual(ways: Sequence[Way]) -> Way:
    return replace(ways[0], seconds=median(way.seconds for way in ways))
