"""What a teacher predicts: the same model with more in sight, read once for each text, before anything is trained.

Kept of it are the likeliest tokens of each place, so that a text takes twelve bytes (in float64 sixteen) for each of
them at each of its tokens, however large the vocabulary. Letters: L labelled tokens, V vocabulary, K kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from seal_ray.bank.attention import PackedAttention
from seal_ray.bank.job import TokenText
from seal_ray.bank.linear import Adapters, PatchedModel
from seal_ray.bank.loss import widened
from seal_ray.bank.prefill import passes
from seal_ray.bank.prepare import check_ids
from seal_ray.bank.rows import Distributions, Row
from seal_ray.types import DataError

log = logging.getLogger(__name__)


def taught(
    patched: PatchedModel, texts: Sequence[TokenText], kept: int, base: str, longest: int, positions: int, budget: int
) -> tuple[TokenText, ...]:
    """The texts with what a teacher, the model with the adapter `base`, predicts of them; as given where that is known.

    No more of a text is read than the first `longest` tokens, which are all that is trained on.
    """
    fits = [_told(f"text {number}", text, longest, positions) for number, text in enumerate(texts)]
    learnt = [
        np.flatnonzero(np.asarray(text.learn[: min(fit, longest)], bool)) for text, fit in zip(texts, fits, strict=True)
    ]
    rows = [
        _read(f"text {number}", text, places, patched.vocabulary)
        for number, (text, places) in enumerate(zip(texts, learnt, strict=True))
        if len(places) and text.targets is None
    ]
    logits = passes(patched, Adapters.none([base]), rows, budget, lambda layout, _: (layout, PackedAttention(layout)))
    found, at, made = _likeliest((logits_LV for _, logits_LV in logits), kept), 0, []
    for text, places, fit in zip(texts, learnt, fits, strict=True):
        if text.targets is None:
            told, at = found[at : at + len(places)], at + len(places)
            ids, learn = text.ids[:fit], text.learn[:fit]
            text = replace(text, ids=ids, learn=learn, targets=_placed(len(ids), places, told))
        made.append(text)
    return tuple(made)


def _told(what: str, text: TokenText, longest: int, positions: int) -> int:
    """How many tokens of a text are trained on: as many as its teacher can read after what it reads first."""
    if text.targets is not None or True not in text.learn:
        return len(text.ids)
    most = text.learn.index(True) + positions - len(text.teacher)
    if most < min(longest, len(text.ids)):
        log.warning("%s: cut to %d tokens; its teacher reads %d before it", what, max(1, most), len(text.teacher))
    return max(1, most)


def _read(what: str, text: TokenText, learnt: np.ndarray, vocabulary: int) -> Row:
    """What the teacher reads of a text: its own beginning, and all from the first token that is learnt."""
    if not text.teacher:
        raise DataError(f"{what} has nothing that its teacher reads first; Distilled needs that for each text")
    check_ids(f"what the teacher of {what} reads", text.teacher, vocabulary)
    check_ids(what, text.ids, vocabulary)
    first, last = learnt[0], learnt[-1]
    ids = np.array((*text.teacher, *text.ids[first : last + 1]), np.int64)
    return Row(0, ids, learnt + (len(text.teacher) - first - 1))


def _likeliest(logits: Iterable[Tensor], kept: int) -> Distributions:
    """The likeliest tokens of every place, of all passes one after another."""
    tokens, probs = [], []
    for wide in (wide for logits_LV in logits for wide in widened(logits_LV)):
        values_LK, tokens_LK = wide.topk(min(kept, wide.shape[1]), 1)
        tokens.append(tokens_LK.cpu().numpy())
        probs.append((values_LK - wide.logsumexp(1, keepdim=True)).exp().cpu().numpy())
    if not tokens:
        return Distributions(np.zeros((0, 1), np.int64), np.zeros((0, 1), np.float32))
    return Distributions(np.concatenate(tokens), np.concatenate(probs))


def _placed(length: int, learnt: np.ndarray, kept: Distributions) -> Distributions:
    """By the places of a text; where nothing is learnt nothing is told."""
    size = (length, kept.tokens_TK.shape[1])
    found = Distributions(np.zeros(size, np.int64), np.zeros(size, kept.probs_TK.dtype))
    found.tokens_TK[learnt], found.probs_TK[learnt] = kept.tokens_TK, kept.probs_TK
    return found
