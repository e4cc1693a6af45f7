"""Answering and sampling: a batched prefill, then one token a row with a cache of keys and values.

Letters: R rows, V vocabulary, K new tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seal_ray.bank.attention import CachedAttention, KVCache, PackedAttention
from seal_ray.bank.draw import inverse_cdf
from seal_ray.bank.job import SampleSpec
from seal_ray.bank.layout import Groups, Layout
from seal_ray.bank.linear import Adapters, PatchedModel
from seal_ray.bank.loss import token_losses
from seal_ray.bank.prefill import passes, prefill
from seal_ray.bank.prepare import Text
from seal_ray.bank.rows import Row

NOTHING = -1
"""Stands instead of a token where the logits are not finite and nothing can be chosen."""


@dataclass(frozen=True)
class GenerateRequest:
    """One prompt of one slot."""

    slot: int
    prompt: tuple[int, ...]
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    seed: int = 0
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0

    @classmethod
    def of(cls, spec: SampleSpec, slot: int) -> GenerateRequest:
        """A text to be sampled, as one of a slot."""
        return cls(slot, spec.prompt, spec.max_new_tokens, spec.stop, spec.seed, spec.temperature, spec.top_p)


@dataclass(frozen=True)
class Answer:
    ids: tuple[int, ...]
    text: str
    finished: bool
    broken: bool = False
    """Cut off where the predictions were no numbers."""


class StopCriteria:
    """Knows when a row's text is over: at an end-of-text token, a stop string, or its length."""

    def __init__(self, tokenizer: Any, eos_ids: frozenset[int]) -> None:
        self.tokenizer, self.eos_ids = tokenizer, eos_ids
        self.pieces: dict[int, str] = {}

    def text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def over(self, ids: list[int], request: GenerateRequest) -> bool:
        """Whether the last token was the last one."""
        last = ids[-1]
        return (
            last == NOTHING
            or len(ids) >= request.max_new_tokens
            or last in self.eos_ids
            or self._stopped(ids, request.stop)
        )

    def _stopped(self, ids: list[int], stop: tuple[str, ...]) -> bool:
        # Only tokens that could have completed a stop string are decoded in full.
        return bool(stop) and self._may_complete(ids[-1], stop) and any(end in self.text(ids) for end in stop)

    def _may_complete(self, token: int, stop: tuple[str, ...]) -> bool:
        if token not in self.pieces:
            self.pieces[token] = self.text([token])
        piece = self.pieces[token]
        # A piece of a character decodes to a replacement mark, and a space may be lost or added between words.
        return "\N{REPLACEMENT CHARACTER}" in piece or any(end[-1].isspace() or end[-1] in piece for end in stop)

    def answer(self, ids: Sequence[int], request: GenerateRequest) -> Answer:
        broken = bool(ids) and ids[-1] == NOTHING
        ids = ids[:-1] if broken else ids
        finished = bool(ids) and ids[-1] in self.eos_ids
        ids = ids[:-1] if finished else ids
        text = self.text(ids)
        found = [text.index(end) for end in request.stop if end in text]
        if found:
            text, finished = text[: min(found)], True
        return Answer(tuple(ids), text, finished, broken)


def generate(
    patched: PatchedModel,
    adapters: Adapters,
    requests: Sequence[GenerateRequest],
    stop_criteria: StopCriteria,
    budget: int,
) -> list[Answer]:
    """Answer requests that are sorted by slot; `budget` is how many tokens a prefill pass may hold."""
    slots = len(adapters.scales)
    width = max(len(request.prompt) + request.max_new_tokens for request in requests)
    cache = KVCache(len(requests), width)
    texts: list[list[int]] = [[] for _ in requests]
    over = [False] * len(requests)
    alive = list(range(len(requests)))
    pick = _picker(requests, patched.device)
    prompts = [
        Row(request.slot, np.asarray(request.prompt, np.int64), np.array([len(request.prompt) - 1]))
        for request in requests
    ]
    tokens_R = pick(prefill(patched, adapters, prompts, budget, cache), 0)
    layout = step_layout([request.slot for request in requests], slots, patched)
    for step in range(1, max(request.max_new_tokens for request in requests) + 1):
        for token, row in zip(tokens_R.tolist(), alive, strict=True):
            if not over[row]:
                texts[row].append(token)
                over[row] = stop_criteria.over(texts[row], requests[row])
        live = [number for number, row in enumerate(alive) if not over[row]]
        if not live:
            break
        if len(live) <= 0.75 * len(alive):
            index = torch.tensor(live, device=patched.device)
            cache.keep(index)
            tokens_R, alive = tokens_R[index], [alive[number] for number in live]
            layout = step_layout([requests[row].slot for row in alive], slots, patched)
            pick = _picker([requests[row] for row in alive], patched.device)
        lengths = [min(len(requests[row].prompt) + step, width) for row in alive]  # one that is over stays in its place
        positions_R = torch.tensor(lengths, device=patched.device) - 1
        layout = replace(layout, input_ids=tokens_R.clamp_min(0)[None], position_ids=positions_R[None])
        with torch.no_grad(), patched.active(layout, CachedAttention(cache, positions_R, max(lengths)), adapters):
            tokens_R = pick(patched.logits(layout), step)
    return [stop_criteria.answer(ids, request) for ids, request in zip(texts, requests, strict=True)]


def step_layout(row_slots: Sequence[int], slots: int, patched: PatchedModel) -> Layout:
    """Rows of one token each."""
    counts = np.bincount(row_slots, minlength=slots)
    groups, every = Groups(counts, patched.device), torch.arange(len(row_slots), device=patched.device)
    return Layout(every, every, groups, groups, (), None, None, every, every, every, every, every, 0)


def _picker(requests: Sequence[GenerateRequest], device: torch.device) -> Callable[[Tensor, int], Tensor]:
    """Chooses each row's next token from its logits."""
    sampler = None if all(request.temperature == 0 for request in requests) else _sampler(requests, device)

    def pick(logits_RV: Tensor, step: int) -> Tensor:
        greedy_R = logits_RV.argmax(-1)
        # The largest of a row with a NaN is NaN.
        finite_R = logits_RV.gather(1, greedy_R[:, None])[:, 0].isfinite()
        tokens_R = sampler(logits_RV, greedy_R, step) if sampler else greedy_R
        return tokens_R.where(finite_R, NOTHING)

    return pick


def _sampler(requests: Sequence[GenerateRequest], device: torch.device) -> Callable[[Tensor, Tensor, int], Tensor]:
    """A function that chooses the next token of each row: sampled rows draw it, the others take the likeliest."""
    uniform_RK = torch.from_numpy(
        np.stack([draws(request.seed, request.max_new_tokens, requests) for request in requests])
    ).to(device)
    temperature_R1 = torch.tensor([[request.temperature] for request in requests], dtype=torch.float64, device=device)
    top_p_R1 = torch.tensor([[request.top_p] for request in requests], dtype=torch.float64, device=device)

    def sample(logits_RV: Tensor, greedy_R: Tensor, step: int) -> Tensor:
        column = min(step, uniform_RK.shape[1] - 1)
        sampled_R = inverse_cdf(logits_RV, uniform_RK[:, column, None], temperature_R1, top_p_R1)
        return torch.where(temperature_R1[:, 0] == 0, greedy_R, sampled_R)

    return sample


def draws(seed: int, count: int, requests: Sequence[GenerateRequest]) -> np.ndarray:
    """A row's own uniform numbers, one per step, padded to the longest row's count."""
    uniform = np.random.Generator(np.random.Philox(key=seed)).random(count)
    return np.pad(uniform, (0, max(request.max_new_tokens for request in requests) - count))


def score(
    patched: PatchedModel, adapters: Adapters, texts: Sequence[tuple[int, Text]], budget: int
) -> list[list[float]]:
    """The log-probability of each learnt token of each (slot, text), sorted by slot."""
    rows = [Row(slot, text.ids, text.labels) for slot, text in texts]
    found = passes(patched, adapters, rows, budget, lambda layout, _: (layout, PackedAttention(layout)))
    losses = [token_losses(logits_LV, layout.targets) for layout, logits_LV in found]
    values = iter((-torch.cat(losses)).tolist())
    return [[next(values) for _ in row.labels] for row in rows]
