"""Slots refilled as they finish against waves in lock-step, on trials with the recorded numbers of texts.

python -m seal_ray.bench.refill --lengths rank_iter0.json
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from seal_ray.bank import Bank, Job, TokenText
from seal_ray.bench.lengths import LORA, OPTIM, Workload, workload
from seal_ray.bench.models import build


def jobs(work: Workload, count: int, vocabulary: int, epochs: int) -> list[Job]:
    """Trials as long as recorded ones, evenly spread over them by their number of texts, in an order of their own."""
    every = sorted(work.edits, key=lambda edit: (len(edit), sum(edit)))
    chosen = [every[int((place + 0.5) * len(every) / count)] for place in range(count)]
    random.Random(count).shuffle(chosen)
    draw = torch.Generator().manual_seed(0)

    def text(length: int) -> TokenText:
        return TokenText.of((), torch.randint(min(10, vocabulary - 1), vocabulary, (length,), generator=draw).tolist())

    optim = replace(OPTIM, epochs=epochs)
    return [Job(f"{n}", tuple(map(text, edit)), LORA, optim, seed=n) for n, edit in enumerate(chosen)]


def waves(every: Sequence[Job], slots: int) -> list[Sequence[Job]]:
    """As many at a time as there are slots; the next ones start when the last of these is done."""
    return [every[at : at + slots] for at in range(0, len(every), slots)]


def seconds(bank: Bank, parts: Sequence[Sequence[Any]]) -> float:
    started = time.perf_counter()
    for part in parts:
        for result in bank.run(part):
            if result.failure:
                raise RuntimeError(f"a trial of the bench failed: {result.failure.reason}")
    return time.perf_counter() - started


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m seal_ray.bench.refill")
    parser.add_argument("--shape", default="llama-30m")
    parser.add_argument("--lengths", default="", metavar="FILE", help="a recorded round")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args(argv)
    model, tokenizer = build(given.shape, "", given.dtype, given.device, 2048)
    bank = Bank(model, tokenizer, slots=given.slots)
    every = jobs(workload(given.lengths), given.trials, bank.vocabulary, epochs=1)
    seconds(bank, [every[:2]])
    pairs = [(seconds(bank, waves(every, given.slots)), seconds(bank, [every])) for _ in range(given.pairs)]
    waved, refilled = (median(column) for column in zip(*pairs, strict=True))
    ratio = median(waved / refilled for waved, refilled in pairs)
    print(
        f"{given.trials} trials of one epoch in {given.slots} slots: waves {given.trials / waved:.3g} a second, ",
        end="",
    )
    print(f"refilled {given.trials / refilled:.3g}, {ratio:.2f}×")


if __name__ == "__main__":
    main()
