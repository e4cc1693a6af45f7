"""Look a job over before it takes a slot: cut what is too long, refuse what cannot be trained, fix its order."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from seal_ray.bank.job import Job, TokenText
from seal_ray.bank.lora import TargetModule, matching
from seal_ray.bank.optim import batch_order
from seal_ray.types import DataError, OptimSpec, derive_seed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Text:
    """A text as the layout takes it. `labels` are the positions whose next token is learnt."""

    ids: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, text: TokenText, limit: int) -> Text:
        ids = np.asarray(text.ids[:limit], np.int64)
        return cls(ids, np.flatnonzero(np.asarray(text.learn[1:limit], bool)))


class Limit(NamedTuple):
    """How long a text to train on may be, and, where it is not the user's own setting, why no longer."""

    tokens: int
    why: str


@dataclass(frozen=True)
class Prepared:
    """A job that can run."""

    job: Job
    modules: tuple[TargetModule, ...]
    texts: tuple[Text, ...]
    batches: tuple[tuple[int, ...], ...]
    """Indices into `texts`, one tuple per training step; empty when nothing is trained."""
    anchors: tuple[Text, ...]
    anchor_batches: tuple[tuple[int, ...], ...]
    """Likewise; empty when there is none."""
    statements: tuple[Text, ...]
    warnings: tuple[str, ...]


def prepare(job: Job, modules: Sequence[TargetModule], vocabulary: int, max_length: int, positions: int) -> Prepared:
    """`DataError` says why a job cannot run. `positions` is what the model can hold, prompt and answer together."""
    warnings: list[str] = []
    chosen: tuple[TargetModule, ...] = ()
    texts: tuple[Text, ...] = ()
    batches: tuple[tuple[int, ...], ...] = ()
    anchors: tuple[Text, ...] = ()
    if job.texts is not None:
        _check_settings(job)
        chosen = matching(modules, job.lora.targets)
        limit = Limit(max_length, ", the model's positions" if max_length == positions else "")
        texts = _texts("text", job.texts, vocabulary, limit, warnings)
        if not texts:
            raise DataError(
                "no token of the recipe carries loss; give a text of two tokens or more, one of them learnt"
            )
        batches = tuple(map(tuple, batch_order(len(texts), job.optim, job.seed)))
        anchors = _texts("anchor example", job.anchor_examples if job.kl_coef else (), vocabulary, limit, warnings)
    for number, prompt in enumerate(job.prompts):
        _check_ids(f"prompt {number}", prompt, vocabulary)
        if len(prompt) + job.max_new_tokens > positions:
            raise DataError(
                f"prompt {number} of {len(prompt)} tokens and {job.max_new_tokens} new ones exceed "
                f"the model's {positions} positions"
            )
    statements = _statements(job, vocabulary, positions)
    for warning in warnings:
        log.warning("%s: %s", job.key, warning)
    anchor_order = anchor_batches(len(anchors), len(batches), job)
    return Prepared(job, chosen, texts, batches, anchors, anchor_order, statements, tuple(warnings))


def anchor_batches(texts: int, steps: int, job: Job) -> tuple[tuple[int, ...], ...]:
    """A batch for each step; the texts are gone through as often as that takes."""
    if not texts:
        return ()
    epochs = -(-steps // -(-texts // job.optim.batch_size))
    order = batch_order(texts, replace(job.optim, epochs=epochs), derive_seed("held", job.seed))
    return tuple(map(tuple, order[:steps]))


def _texts(
    what: str, texts: Sequence[TokenText], vocabulary: int, limit: Limit, warnings: list[str]
) -> tuple[Text, ...]:
    kept = []
    for number, text in enumerate(texts):
        _check_ids(f"{what} {number}", text.ids, vocabulary)
        if len(text.ids) > limit.tokens:
            warnings.append(f"{what} {number}: {len(text.ids)} tokens cut to {limit.tokens}{limit.why}")
        made = Text.of(text, limit.tokens)
        if len(made.labels):
            kept.append(made)
        else:
            warnings.append(f"{what} {number}: no token carries loss; left out")
    return tuple(kept)


def _statements(job: Job, vocabulary: int, positions: int) -> tuple[Text, ...]:
    """Scored whole or not at all: one that lost its end, or has nothing to score, would be the likeliest of all."""
    made = []
    for number, text in enumerate(job.statements):
        what = f"statement {number}"
        _check_ids(what, text.ids, vocabulary)
        if len(text.ids) > positions:
            raise DataError(f"{what} of {len(text.ids)} tokens exceeds the model's {positions} positions")
        made.append(Text.of(text, positions))
        if not len(made[-1].labels):
            raise DataError(f"{what} has no token to score: its answer is empty, or nothing comes before it")
    return tuple(made)


def _check_ids(what: str, ids: Sequence[int], vocabulary: int) -> None:
    if not ids:
        raise DataError(f"{what} has no tokens")
    if min(ids) < 0 or max(ids) >= vocabulary:
        raise DataError(f"{what} has a token outside the vocabulary of {vocabulary}")


def _check_settings(job: Job) -> None:
    if not job.texts:
        raise DataError("the recipe has no texts")
    if job.lora.rank < 1:
        raise DataError(f"rank {job.lora.rank} is no rank; give at least 1")
    if not job.lora.targets:
        raise DataError("the adapter targets no module; name at least one")
    if not math.isfinite(job.lora.alpha):
        raise DataError(f"alpha {job.lora.alpha} is not finite")
    _check_optim(job.optim)


def _check_optim(optim: OptimSpec) -> None:
    checks = {
        "epochs": optim.epochs >= 1,
        "batch_size": optim.batch_size >= 1,
        "lr": math.isfinite(optim.lr) and optim.lr >= 0,
        "betas": all(0 <= beta < 1 for beta in optim.betas),
        "eps": math.isfinite(optim.eps) and optim.eps > 0,
        "weight_decay": math.isfinite(optim.weight_decay) and optim.weight_decay >= 0,
        "clip_norm": math.isfinite(optim.clip_norm) and optim.clip_norm >= 0,
        "warmup_steps": optim.warmup_steps >= 0,
        "schedule": optim.schedule in ("linear", "cosine", "constant"),
    }
    for name, fine in checks.items():
        if not fine:
            raise DataError(f"{name} {getattr(optim, name)} cannot be trained with")
