"""Answering and sampling: a batched prefill, then one token a row with a cache of keys and values.

Letters: R rows, V vocabulary, K new tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seal_ray.bank.attention import CachedAttention, KVCache, PackedAttention
from seal_ray.bank.layout import Groups, Layout, Row, cut, pack
from seal_ray.bank.linear import Adapters, Installed
from seal_ray.bank.loss import token_losses
from seal_ray.bank.prepare import Text

NOTHING = -1
"""In place of a token, where the logits are not finite and nothing can be chosen."""


@dataclass(frozen=True)
class Ask:
    """One prompt of one slot."""

    slot: int
    prompt: tuple[int, ...]
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    seed: int = 0
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0


@dataclass(frozen=True)
class Answer:
    ids: tuple[int, ...]
    text: str
    finished: bool
    broken: bool = False
    """Cut off where the predictions were no numbers."""


class Ends:
    """Knows when a row's text is over: at an end-of-text token, a stop string, or its length."""

    def __init__(self, tokenizer: Any, eos_ids: frozenset[int]) -> None:
        self.tokenizer, self.eos_ids = tokenizer, eos_ids
        self.pieces: dict[int, str] = {}

    def text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def over(self, ids: list[int], ask: Ask) -> bool:
        """Whether the last token was the last one."""
        last = ids[-1]
        return last == NOTHING or len(ids) >= ask.max_new_tokens or last in self.eos_ids or self._stopped(ids, ask.stop)

    def _stopped(self, ids: list[int], stop: tuple[str, ...]) -> bool:
        # Only tokens that could have completed a stop string are decoded in full.
        return bool(stop) and self._may_complete(ids[-1], stop) and any(end in self.text(ids) for end in stop)

    def _may_complete(self, token: int, stop: tuple[str, ...]) -> bool:
        if token not in self.pieces:
            self.pieces[token] = self.text([token])
        piece = self.pieces[token]
        # A piece of a character decodes to a replacement mark, and a space may be lost or added between words.
        return "\N{REPLACEMENT CHARACTER}" in piece or any(end[-1].isspace() or end[-1] in piece for end in stop)

    def answer(self, ids: Sequence[int], ask: Ask) -> Answer:
        broken = bool(ids) and ids[-1] == NOTHING
        ids = ids[:-1] if broken else ids
        finished = bool(ids) and ids[-1] in self.eos_ids
        ids = ids[:-1] if finished else ids
        text = self.text(ids)
        found = [text.index(end) for end in ask.stop if end in text]
        if found:
            text, finished = text[: min(found)], True
        return Answer(tuple(ids), text, finished, broken)


def generate(home: Installed, adapters: Adapters, asks: Sequence[Ask], ends: Ends, budget: int) -> list[Answer]:
    """Answer asks that are sorted by slot; `budget` is how many tokens a prefill pass may hold."""
    slots = len(adapters.scales)
    width = max(len(ask.prompt) + ask.max_new_tokens for ask in asks)
    cache = KVCache(len(asks), width)
    texts: list[list[int]] = [[] for _ in asks]
    over = [False] * len(asks)
    alive = list(range(len(asks)))
    pick = _picker(asks, home.device)
    rows = [Row(ask.slot, np.asarray(ask.prompt, np.int64), np.array([len(ask.prompt) - 1])) for ask in asks]
    logits_RV = torch.cat([logits_LV for _, logits_LV in _passes(home, adapters, rows, budget, cache)])
    tokens_R = pick(logits_RV, 0)
    layout = step_layout([ask.slot for ask in asks], slots, home)
    for step in range(1, max(ask.max_new_tokens for ask in asks) + 1):
        for token, row in zip(tokens_R.tolist(), alive, strict=True):
            if not over[row]:
                texts[row].append(token)
                over[row] = ends.over(texts[row], asks[row])
        live = [number for number, row in enumerate(alive) if not over[row]]
        if not live:
            break
        if len(live) <= 0.75 * len(alive):
            index = torch.tensor(live, device=home.device)
            cache.keep(index)
            tokens_R, alive = tokens_R[index], [alive[number] for number in live]
            layout = step_layout([asks[row].slot for row in alive], slots, home)
            pick = _picker([asks[row] for row in alive], home.device)
        lengths = [min(len(asks[row].prompt) + step, width) for row in alive]  # one that is over stays in its place
        positions_R = torch.tensor(lengths, device=home.device) - 1
        layout = replace(layout, input_ids=tokens_R.clamp_min(0)[None], position_ids=positions_R[None])
        with torch.no_grad(), home.active(layout, CachedAttention(cache, positions_R, max(lengths)), adapters):
            tokens_R = pick(home.logits(layout), step)
    return [ends.answer(ids, ask) for ids, ask in zip(texts, asks, strict=True)]


def _passes(
    home: Installed, adapters: Adapters, rows: Sequence[Row], budget: int, cache: KVCache | None = None
) -> Iterator[tuple[Layout, Tensor]]:
    """The logits of each pass's wanted tokens, in order; a cache is filled on the way."""
    at = 0
    for batch in cut(rows, budget):
        layout, logits_LV = _pass(home, adapters, batch, cache, at)
        if len(batch) > 1 and bool(logits_LV.isnan().any()):
            # A text gone to NaN may have reached those it shared a line of attention with.
            for number, row in enumerate(batch):
                yield _pass(home, adapters, [row], cache, at + number)
        else:
            yield layout, logits_LV
        at += len(batch)


@torch.no_grad()
def _pass(
    home: Installed, adapters: Adapters, rows: list[Row], cache: KVCache | None, first_row: int
) -> tuple[Layout, Tensor]:
    layout = pack(rows, home.device, home.dtype)
    with home.active(layout, PackedAttention(layout, cache, first_row), adapters):
        return layout, home.logits(layout)


def step_layout(row_slots: Sequence[int], slots: int, home: Installed) -> Layout:
    """Rows of one token each."""
    counts = np.bincount(row_slots, minlength=slots)
    groups, every = Groups(counts, home.device), torch.arange(len(row_slots), device=home.device)
    return Layout(every, every, groups, groups, (), None, None, every, every, every, every, every, 0)


def _picker(asks: Sequence[Ask], device: torch.device) -> Callable[[Tensor, int], Tensor]:
    """Chooses each row's next token from its logits."""
    sampler = None if all(ask.temperature == 0 for ask in asks) else _sampler(asks, device)

    def pick(logits_RV: Tensor, step: int) -> Tensor:
        greedy_R = logits_RV.argmax(-1)
        # The largest of a row with a NaN is NaN.
        finite_R = logits_RV.gather(1, greedy_R[:, None])[:, 0].isfinite()
        tokens_R = sampler(logits_RV, greedy_R, step) if sampler else greedy_R
        return tokens_R.where(finite_R, NOTHING)

    return pick


def _sampler(asks: Sequence[Ask], device: torch.device) -> Callable[[Tensor, Tensor, int], Tensor]:
    """The same for rows some of which are sampled; the others take the greedy token."""
    uniform_RK = torch.from_numpy(np.stack([draws(ask.seed, ask.max_new_tokens, asks) for ask in asks])).to(device)
    temperature_R1 = torch.tensor([[ask.temperature] for ask in asks], dtype=torch.float64, device=device)
    top_p_R1 = torch.tensor([[ask.top_p] for ask in asks], dtype=torch.float64, device=device)

    def sample(logits_RV: Tensor, greedy_R: Tensor, step: int) -> Tensor:
        column = min(step, uniform_RK.shape[1] - 1)
        sampled_R = inverse_cdf(logits_RV, uniform_RK[:, column, None], temperature_R1, top_p_R1)
        return torch.where(temperature_R1[:, 0] == 0, greedy_R, sampled_R)

    return sample


def draws(seed: int, count: int, asks: Sequence[Ask]) -> np.ndarray:
    """A row's own uniform numbers, one per step, padded to the longest row's count."""
    uniform = np.random.Generator(np.random.Philox(key=seed)).random(count)
    return np.pad(uniform, (0, max(ask.max_new_tokens for ask in asks) - count))


def inverse_cdf(logits_RV: Tensor, uniform_R1: Tensor, temperature_R1: Tensor, top_p_R1: Tensor) -> Tensor:
    """The token where the cumulative probability, in the vocabulary's order, passes a uniform number.

    Top-p keeps the smallest set of likeliest tokens that holds that much probability.
    """
    probs_RV = (logits_RV.double() / temperature_R1.clamp_min(1e-6)).softmax(-1)
    if bool((top_p_R1 < 1).any()):
        sorted_RV, order_RV = probs_RV.sort(dim=-1, descending=True, stable=True)
        beyond_RV = sorted_RV.cumsum(-1) - sorted_RV >= top_p_R1
        probs_RV = probs_RV.masked_fill(beyond_RV.gather(1, order_RV.argsort(-1)), 0.0)
    total_RV = probs_RV.cumsum(-1)
    found_R = torch.searchsorted(total_RV, uniform_R1 * total_RV[:, -1:], right=True)[:, 0]
    return found_R.clamp_max(logits_RV.shape[1] - 1)


def score(home: Installed, adapters: Adapters, texts: Sequence[tuple[int, Text]], budget: int) -> list[list[float]]:
    """The log-probability of each learnt token of each (slot, text), sorted by slot."""
    rows = [Row(slot, text.ids, text.labels) for slot, text in texts]
    losses = [token_losses(logits_LV, layout.targets) for layout, logits_LV in _passes(home, adapters, rows, budget)]
    values = iter((-torch.cat(losses)).tolist())
    return [[next(values) for _ in row.labels] for row in rows]
