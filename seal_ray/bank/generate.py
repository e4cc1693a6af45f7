"""What is asked of the model, an answer or a text's score, and when an answer is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from seal_ray.bank.attention import PackedAttention
from seal_ray.bank.job import SampleSpec
from seal_ray.bank.linear import Adapters, PatchedModel
from seal_ray.bank.loss import divergences, token_losses
from seal_ray.bank.prefill import passes, read
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


def score(
    patched: PatchedModel,
    adapters: Adapters,
    texts: Sequence[tuple[int, Text]],
    budget: int,
    reference: Adapters | None = None,
) -> list[list[float]]:
    """The log-probability of each learnt token of each (slot, text), sorted by slot.

    With a reference instead how far what is predicted there is from what the reference predicts; a pass at a time.
    """
    rows = [Row(slot, text.ids, text.labels) for slot, text in texts]
    found = passes(patched, adapters, rows, budget, lambda layout, _: (layout, PackedAttention(layout)))
    if reference is None:
        scores = [-token_losses(logits_LV, layout.targets) for layout, logits_LV in found]
    else:
        scores = [divergences(logits_LV, read(patched, reference, layout)) for layout, logits_LV in found]
    values = iter(torch.cat(scores).tolist() if scores else [])
    return [[next(values) for _ in row.labels] for row in rows]
