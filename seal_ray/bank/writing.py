"""Texts written side by side, each in a place of its own, which one that is over leaves to the next.

A pass reads the prompts of those that come, or writes one token of every text; none computes anything for a text that
is over. Every text is a function of its own request alone.
Letters: R rows of a pass, V vocabulary.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from seal_ray.bank.attention import CachedAttention, KVCache
from seal_ray.bank.draw import inverse_cdf
from seal_ray.bank.generate import NOTHING, Answer, GenerateRequest, StopCriteria
from seal_ray.bank.layout import Groups, Layout
from seal_ray.bank.linear import Adapters, PatchedModel
from seal_ray.bank.memory import is_out_of_memory
from seal_ray.bank.prefill import Prompt, prefill
from seal_ray.bank.rows import Row

log = logging.getLogger(__name__)
CACHE_TOKENS = 65536
"""Keys and values held at once, in tokens; states count as the tokens that would take as much."""
ENOUGH = 1 / 8
"""The share of the places that are refilled together: a pass for each newcomer costs more than a place left empty."""
FEWER = 0.75
"""The share of the places in use at which those that nobody waits for are given up."""
Key = TypeVar("Key")


@dataclass(eq=False)
class _Text(Generic[Key]):
    """A text that waits, or is being written."""

    key: Key
    request: GenerateRequest
    place: int = 0
    """Its row of the cache."""
    ids: list[int] = field(default_factory=list)

    @property
    def slot(self) -> int:
        return self.request.slot

    @cached_property
    def row(self) -> Row:
        ids = np.asarray(self.request.prompt, np.int64)
        return Row(self.slot, ids, np.array([len(ids) - 1]))

    @property
    def position(self) -> int:
        """Of its last token."""
        return len(self.request.prompt) + len(self.ids) - 1

    @cached_property
    def _uniform(self) -> np.ndarray:
        """Its own uniform numbers, one for each token."""
        return np.random.Generator(np.random.Philox(key=self.request.seed)).random(self.request.max_new_tokens)

    @property
    def drawing(self) -> tuple[float, float, float]:
        """What its next token is drawn with: a uniform number, temperature and top-p."""
        request = self.request
        return float(self._uniform[len(self.ids)]) if request.temperature else 0.0, request.temperature, request.top_p


class Writing(Generic[Key]):
    """Writes what is asked of it under the adapters of a pass, at most `most` texts at once."""

    def __init__(
        self,
        patched: PatchedModel,
        adapters: Adapters,
        stop_criteria: StopCriteria,
        budget: int,
        row_tokens: int = 0,
        most: int = CACHE_TOKENS,
    ) -> None:
        """`budget` is how many tokens a pass that reads may have, and `row_tokens` what the states of a text count."""
        self.patched, self.adapters, self.stop_criteria, self.budget = patched, adapters, stop_criteria, budget
        self._row_tokens, self._most, self._widest = row_tokens, most, 0
        self._waiting: deque[_Text[Key]] = deque()
        self._texts: list[_Text[Key]] = []
        """Those being written, by slot."""
        self._cache = KVCache(0, 0)
        self._layout: Layout | None = None

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._texts)

    def add(self, key: Key, request: GenerateRequest) -> None:
        """Ask for a text, which comes after those asked for before; from `step`, with this key, when it is over."""
        self._waiting.append(_Text(key, request))
        self._widest = max(self._widest, len(request.prompt) + request.max_new_tokens)

    def step(self) -> list[tuple[Key, Answer]]:
        """Make one pass; the texts that are over with it."""
        coming = self._coming()
        try:
            written = self._read(coming) if coming else self._write()
        except (RuntimeError, MemoryError) as error:
            at_once = [*self._texts, *(text for text in coming if text not in self._texts)]
            if not is_out_of_memory(error) or len(at_once) == 1:
                raise
            self._begin_again(at_once)
            return []
        over = [text for text in written if self.stop_criteria.over(text.ids, text.request)]
        if over:
            self._leave(over)
        return [(text.key, self.stop_criteria.answer(text.ids, text.request)) for text in over]

    @property
    def _places(self) -> int:
        """How many texts may be written at once."""
        return min(self._most, max(1, CACHE_TOKENS // (self._widest + self._row_tokens)))

    def _coming(self) -> list[_Text[Key]]:
        """Those that begin to be written now: as many as there is room for, or none while that is too few."""
        count = min(len(self._waiting), self._places - len(self._texts))
        if count <= 0 or (self._texts and count < min(len(self._waiting), ENOUGH * self._places)):
            return []
        return [self._waiting.popleft() for _ in range(count)]

    def _read(self, coming: list[_Text[Key]]) -> list[_Text[Key]]:
        """Give each a place, and write its first token."""
        self._take_places(coming)
        fresh = set(coming)
        # States have moved on from where a text that is being written began, and keys and values lie there still.
        known = coming if self.patched.recurrent else self._texts
        among = sorted(known, key=lambda text: (text.slot, text.request.prompt))
        prompts = [Prompt(text.row, text.place, text not in fresh) for text in among]
        logits_RV = prefill(self.patched, self.adapters, prompts, self.budget, self._cache)
        return self._put(logits_RV, [text for text in among if text in fresh])

    def _take_places(self, coming: list[_Text[Key]]) -> None:
        taken = {text.place for text in self._texts}
        free = [place for place in range(self._cache.rows) if place not in taken]
        if len(free) < len(coming) or self._cache.capacity < self._widest:
            self._lay_out(len(self._texts) + len(coming))
            free = list(range(len(self._texts), self._cache.rows))
        for text, place in zip(coming, free, strict=False):
            text.place = place
        self._cache.clear(self._index([text.place for text in coming]))
        self._texts = sorted(self._texts + coming, key=lambda text: text.slot)
        self._layout = None

    def _lay_out(self, places: int) -> None:
        """Have so many places, of which the first hold what is being written."""
        self._cache.resize(self._index([text.place for text in self._texts]), places, self._widest)
        for place, text in enumerate(self._texts):
            text.place = place

    @torch.no_grad()
    def _write(self) -> list[_Text[Key]]:
        """Write a token of every text."""
        texts, cache = self._texts, self._cache
        if self._layout is None:
            self._layout = step_layout([text.slot for text in texts], len(self.adapters.scales), self.patched)
        places, positions = [text.place for text in texts], [text.position for text in texts]
        tokens_R, places_R, positions_R = self._index([[text.ids[-1] for text in texts], places, positions])
        layout = replace(self._layout, input_ids=tokens_R[None], position_ids=positions_R[None])
        every = places == list(range(cache.rows))
        attention = CachedAttention(cache, None if every else places_R, positions_R, max(positions) + 1)
        with self.patched.active(layout, attention, self.adapters):
            logits_RV = self.patched.logits(layout)
        return self._put(logits_RV, texts)

    def _put(self, logits_RV: Tensor, texts: list[_Text[Key]]) -> list[_Text[Key]]:
        """Choose the next token of each text: the likeliest, or one that is drawn."""
        tokens_R = greedy_R = logits_RV.argmax(-1)
        # The largest of a row with a NaN is NaN.
        finite_R = logits_RV.gather(1, greedy_R[:, None])[:, 0].isfinite()
        if any(text.request.temperature for text in texts):
            drawing_R3 = torch.tensor([text.drawing for text in texts], dtype=torch.float64, device=logits_RV.device)
            uniform_R1, temperature_R1, top_p_R1 = drawing_R3.split(1, -1)
            sampled_R = inverse_cdf(logits_RV, uniform_R1, temperature_R1, top_p_R1)
            tokens_R = torch.where(temperature_R1[:, 0] == 0, greedy_R, sampled_R)
        for text, token in zip(texts, tokens_R.where(finite_R, NOTHING).tolist(), strict=True):
            text.ids.append(token)
        return texts

    def _leave(self, over: list[_Text[Key]]) -> None:
        gone = set(over)
        self._texts = [text for text in self._texts if text not in gone]
        self._layout = None
        if not self._texts:
            self._cache = KVCache(0, 0)
            self._widest = self._widest if self._waiting else 0
        elif not self._waiting and len(self._texts) <= FEWER * self._cache.rows:
            self._lay_out(len(self._texts))

    def _begin_again(self, texts: list[_Text[Key]]) -> None:
        """With half as many at once: what was being written is written anew, and comes out the same."""
        log.warning("out of memory while answering %d at once; halved", len(texts))
        self._most = len(texts) // 2
        for text in reversed(texts):
            text.ids.clear()
            self._waiting.appendleft(text)
        self._texts, self._cache, self._layout = [], KVCache(0, 0), None

    def _index(self, numbers: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64, device=self.patched.device)


def step_layout(row_slots: list[int], slots: int, patched: PatchedModel) -> Layout:
    """Rows of one token each."""
    counts = np.bincount(row_slots, minlength=slots)
    groups = Groups(counts, patched.device, patched.ragged)
    every = torch.arange(len(row_slots), device=patched.device)
    return Layout(
        input_ids=every,
        position_ids=every,
        tokens=groups,
        heads=groups,
        buckets=(),
        place=None,
        lines=None,
        whole=None,
        row=every,
        lengths=np.ones(len(row_slots), np.int64),
        head_index=every,
        targets=every,
        weights=every,
        head_slot=every,
        first=0,
    )
