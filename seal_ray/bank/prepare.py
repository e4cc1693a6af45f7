"""Look a job over before it takes a slot: cut what is too long, refuse what cannot be trained, fix its order."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from seal_ray.bank.job import Job, TokenText
from seal_ray.bank.lora import BufferLayout, TargetModule, matching
from seal_ray.bank.objectives import KL, CrossEntropy, Distilled, SoftTargets
from seal_ray.bank.optim import batch_order
from seal_ray.bank.rows import Distributions, Objective, Row
from seal_ray.types import DataError, LoraSpec, OptimSpec, derive_seed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Text:
    """A text as the layout takes it. `labels` are the positions whose next token is learnt."""

    ids: np.ndarray
    labels: np.ndarray
    targets: Distributions | None = None
    weight: float = 1.0

    @classmethod
    def of(cls, text: TokenText, limit: int) -> Text:
        ids = np.asarray(text.ids[:limit], np.int64)
        labels = np.flatnonzero(np.asarray(text.learn[1:limit], bool))
        return cls(ids, labels, text.targets[labels + 1] if text.targets is not None else None, text.weight)


def rows_of(slot: int, texts: Sequence[Text], objective: Objective, coef: float) -> list[Row]:
    """Texts of a batch as rows, whose loss is `coef` times the mean over the objective's terms."""
    weight = coef / objective.count([len(text.labels) for text in texts])
    size = objective.texts_per_example
    return [
        Row(slot, text.ids, text.labels, weight * text.weight, objective, number % size > 0, text.targets)
        for number, text in enumerate(texts)
    ]


@dataclass(frozen=True)
class Term:
    """One summand of a job's loss: the objective of some texts, and what it counts."""

    objective: Objective
    coef: float
    texts: tuple[Text, ...]
    batches: tuple[tuple[int, ...], ...]
    """Indices into `texts`, one tuple per training step."""

    def rows(self, slot: int, step: int) -> list[Row]:
        """The batch of a step."""
        return rows_of(slot, [self.texts[index] for index in self.batches[step]], self.objective, self.coef)


class Limit(NamedTuple):
    """How long a text to train on may be, and, where it is not the user's own setting, why no longer."""

    tokens: int
    why: str


@dataclass(frozen=True)
class Prepared:
    """A job that can run."""

    job: Job
    modules: tuple[TargetModule, ...]
    terms: tuple[Term, ...]
    """The terms of the loss, that of the texts first; empty when nothing is trained."""
    statements: tuple[Text, ...]
    warnings: tuple[str, ...]

    @property
    def compared(self) -> tuple[Text, ...]:
        """Those of its statements whose predictions are held against a reference's: all or none."""
        return self.statements if self.job.reference is not None else ()

    @property
    def buffer_layout(self) -> BufferLayout:
        return BufferLayout(self.job.lora.rank, self.modules)

    @property
    def steps(self) -> int:
        return len(self.terms[0].batches) if self.terms else 0


def prepare(job: Job, modules: Sequence[TargetModule], vocabulary: int, max_length: int, positions: int) -> Prepared:
    """`DataError` says why a job cannot run. `positions` is what the model can hold, prompt and answer together."""
    warnings: list[str] = []
    chosen: tuple[TargetModule, ...] = ()
    terms: tuple[Term, ...] = ()
    if job.texts is not None:
        _check_settings(job)
        chosen = matching(modules, job.lora.targets)
        limit = Limit(max_length, ", the model's positions" if max_length == positions else "")
        terms = _terms(job, vocabulary, limit, warnings)
    for number, prompt in enumerate(job.prompts):
        check_ids(f"prompt {number}", prompt, vocabulary)
        if len(prompt) + job.max_new_tokens > positions:
            raise DataError(
                f"prompt {number} of {len(prompt)} tokens and {job.max_new_tokens} new ones exceed "
                f"the model's {positions} positions"
            )
    statements = _statements(job, vocabulary, positions)
    for warning in warnings:
        log.warning("%s: %s", job.key, warning)
    return Prepared(job, chosen, terms, statements, tuple(warnings))


def prepare_untrained(job: Job, modules: Sequence[TargetModule]) -> Prepared:
    """A job that gets its batches from elsewhere; `DataError` when its adapter cannot be made."""
    _check_lora(job.lora)
    return Prepared(job, matching(modules, job.lora.targets), (), (), ())


def _terms(job: Job, vocabulary: int, limit: Limit, warnings: list[str]) -> tuple[Term, ...]:
    """The loss of the texts, and of the anchor examples where there are any."""
    objective = job.objective or CrossEntropy()
    texts = trainable("text", job.texts or (), objective, vocabulary, limit, warnings)
    if not texts:
        raise DataError("no token of the recipe carries loss; give a text of two tokens or more, one of them learnt")
    size = objective.texts_per_example
    order = batch_order(len(texts) // size, job.optim, job.seed)
    batches = tuple(tuple(size * index + n for index in batch for n in range(size)) for batch in order)
    terms = [Term(objective, 1.0, texts, batches)]
    if job.kl_coef:
        anchors = trainable("anchor example", job.anchor_examples, KL(), vocabulary, limit, warnings)
        if anchors:
            terms.append(Term(KL(), job.kl_coef, anchors, anchor_batches(len(anchors), len(batches), job)))
    return tuple(terms)


def anchor_batches(texts: int, steps: int, job: Job) -> tuple[tuple[int, ...], ...]:
    """A batch for each step; the texts are gone through as often as that takes."""
    if not texts:
        return ()
    epochs = -(-steps // -(-texts // job.optim.batch_size))
    order = batch_order(texts, replace(job.optim, epochs=epochs), derive_seed("held", job.seed))
    return tuple(map(tuple, order[:steps]))


def trainable(
    what: str,
    texts: Sequence[TokenText],
    objective: Objective,
    vocabulary: int,
    limit: Limit,
    warnings: list[str],
) -> tuple[Text, ...]:
    """Texts as rows take them, cut to the limit; an example with a text that carries no loss is left out, and said."""
    size = objective.texts_per_example
    if len(texts) % size:
        raise DataError(f"{len(texts)} texts are no whole number of examples of {size}; give {size} for each")
    bare = [number for number, text in enumerate(texts) if text.targets is None]
    if bare and isinstance(objective, SoftTargets | Distilled):
        needs = "SoftTargets needs one for each token" if isinstance(objective, SoftTargets) else "give it a teacher"
        raise DataError(f"{what} {bare[0]} has no distributions; {needs}")
    made = [_trainable(f"{what} {number}", text, vocabulary, limit, warnings) for number, text in enumerate(texts)]
    examples = [made[at : at + size] for at in range(0, len(made), size)]
    return tuple(text for example in examples if all(len(each.labels) for each in example) for text in example)


def _trainable(what: str, text: TokenText, vocabulary: int, limit: Limit, warnings: list[str]) -> Text:
    check_ids(what, text.ids, vocabulary)
    if len(text.ids) > limit.tokens:
        warnings.append(f"{what}: {len(text.ids)} tokens cut to {limit.tokens}{limit.why}")
    made = Text.of(text, limit.tokens)
    if not len(made.labels):
        warnings.append(f"{what}: no token carries loss; left out")
    return made


def _statements(job: Job, vocabulary: int, positions: int) -> tuple[Text, ...]:
    """Scored whole or not at all: one that lost its end, or has nothing to score, would be the likeliest of all."""
    made = []
    for number, text in enumerate(job.statements):
        what = f"statement {number}"
        check_ids(what, text.ids, vocabulary)
        if len(text.ids) > positions:
            raise DataError(f"{what} of {len(text.ids)} tokens exceeds the model's {positions} positions")
        made.append(Text.of(text, positions))
        if not len(made[-1].labels):
            raise DataError(f"{what} has no token to score: its answer is empty, or nothing comes before it")
    return tuple(made)


def check_ids(what: str, ids: Sequence[int], vocabulary: int) -> None:
    """`DataError` where these are no tokens of the model."""
    if not ids:
        raise DataError(f"{what} has no tokens")
    if min(ids) < 0 or max(ids) >= vocabulary:
        raise DataError(f"{what} has a token outside the vocabulary of {vocabulary}")


def _check_settings(job: Job) -> None:
    if not job.texts:
        raise DataError("the recipe has no texts")
    _check_lora(job.lora)
    _check_optim(job.optim)


def _check_lora(lora: LoraSpec) -> None:
    if lora.rank < 1:
        raise DataError(f"rank {lora.rank} is no rank; give at least 1")
    if not math.isfinite(lora.alpha):
        raise DataError(f"alpha {lora.alpha} is not finite")


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
