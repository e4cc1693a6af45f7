"""The bank: jobs in, results out. Slots train side by side and are refilled as they finish; answers come in batches."""

from __future__ import annotations

import logging
import math
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby, islice
from typing import Any, Protocol
from weakref import WeakSet

import torch

from seal_ray.adapters.lora import Adapter
from seal_ray.bank.cohort import Running
from seal_ray.bank.fit import examine
from seal_ray.bank.generate import Answer, GenerateRequest, StopCriteria, score
from seal_ray.bank.job import Job, JobResult, SampledText, SampleSpec, TokenText
from seal_ray.bank.linear import Adapters, Block, PatchedModel
from seal_ray.bank.lora import BufferLayout, matching, to_adapter
from seal_ray.bank.memory import is_out_of_memory, most_tokens
from seal_ray.bank.objectives import Distilled
from seal_ray.bank.prepare import Prepared, Text, prepare
from seal_ray.bank.residents import BASE
from seal_ray.bank.rows import Objective
from seal_ray.bank.sampling import Sampling
from seal_ray.bank.slots import Slots, Trained
from seal_ray.bank.teacher import taught
from seal_ray.bank.writing import CACHE_TOKENS, Writing
from seal_ray.types import DataError, Failure, LoraSpec

log = logging.getLogger(__name__)


class Borrower(Protocol):
    """What goes on beside the bank's own slots, and needs resident adapters meanwhile."""

    @property
    def bases(self) -> Collection[str]:
        """Their keys."""


class Bank:
    """Many adapters on one frozen base model, each trained and queried as if it were alone.

    The model is used in place: frozen, put in eval mode, its linear layers taught to look at the bank while the bank
    is at work. Between calls it behaves as before. Not safe to use from two threads at once. It uses as many of its
    `slots` as there is memory for.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        slots: int,
        max_tokens_per_microbatch: int | None = None,
        max_length: int = 2048,
    ) -> None:
        self.patched = PatchedModel(model)
        fit = examine(self.patched)
        self.positions, self.row_tokens = fit.positions, fit.row_tokens
        self.slots, self.max_length = slots, min(max_length, self.positions)
        self.vocabulary = self.patched.vocabulary
        self.stop_criteria = StopCriteria(tokenizer, eos_ids(model, tokenizer))
        self.queue: deque[Prepared] = deque()
        self.waiting: list[Trained] = []
        self.refused: list[JobResult] = []
        self.borrowers: WeakSet[Borrower] = WeakSet()
        """Trainings and sampling beside the bank's own slots, for as long as somebody holds them."""
        most = max_tokens_per_microbatch or most_tokens(self.patched.device, self.max_length)
        self.training = Slots(self.patched, most, planned=max_tokens_per_microbatch is not None)

    @property
    def busy(self) -> bool:
        return bool(self.queue or self.training.running or self.waiting or self.refused)

    @property
    def residents(self) -> dict[str, int]:
        """Keys of the adapters that jobs may start from, with the bytes that each of them takes."""
        return self.patched.residents.bytes

    def load(self, key: str, adapter: Adapter) -> None:
        """Make an adapter one that jobs may start from. Base weights are neither changed nor reloaded.

        Jobs that start from other adapters may be under way, before and beside those that start from this one.
        """
        self._refuse_in_use(key)
        self.patched.residents.load(key, adapter)

    def drop(self, key: str) -> None:
        """Forget an adapter, for its memory; `RuntimeError` while a job starts from it."""
        self._refuse_in_use(key)
        self.patched.residents.drop(key)

    def load_missing(self, adapters: Mapping[str, Adapter]) -> None:
        """Load those of these that are not resident yet."""
        for key in adapters.keys() - self.patched.residents.keys():
            self.load(key, adapters[key])

    def drop_unused(self, kept: Collection[str]) -> None:
        """Forget every adapter but these and those that a job starts from."""
        for key in self.patched.residents.keys() - {*kept, *self.in_use()}:
            self.patched.residents.drop(key)

    def in_use(self) -> frozenset[str]:
        """Keys of the adapters that jobs in the bank start from, and what goes on beside it needs."""
        left = (trained.running for trained in self.waiting)
        running = (run.prepared for run in (*self.training.running, *left))
        jobs = [prepared.job for prepared in (*self.queue, *running)]
        named = (key for job in jobs for key in (job.base, job.reference) if key is not None)
        return frozenset(chain(named, *(borrower.bases for borrower in self.borrowers)))

    def _refuse_in_use(self, key: str) -> None:
        if key in self.in_use():
            raise RuntimeError(f"jobs in the bank start from {key!r}; take their results first, or use another key")

    def submit(self, job: Job) -> None:
        """Queue a job. One that cannot run comes back from the next `step` as a failure.

        `ValueError` when the adapter it starts from, or that it is held against, is not loaded.
        """
        for key in (job.base, job.reference or BASE):
            self.patched.residents.check(key)
        prepared = self._prepared(job)
        if isinstance(prepared, Failure):
            self.refused.append(JobResult(job.key, failure=prepared))
        elif job.texts is None:
            self.waiting.append(Trained(Running(prepared), torch.empty(0)))
        else:
            # The longest first: one that begins late would end alone.
            insort(self.queue, prepared, key=lambda queued: -queued.steps)

    def _prepared(self, job: Job) -> Prepared | Failure:
        try:
            job = replace(job, texts=self.taught(job.texts, job.objective, job.base))
            return prepare(job, self.patched.modules, self.vocabulary, self.max_length, self.positions)
        except DataError as error:
            return Failure("data", str(error))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return Failure("infrastructure", "out of memory on what a teacher reads")

    def taught(
        self, texts: tuple[TokenText, ...] | None, objective: Objective | None, base: str
    ) -> tuple[TokenText, ...] | None:
        """Texts with what their teacher predicts, where they are trained to that; `DataError` where it cannot read."""
        if not texts or not isinstance(objective, Distilled):
            return texts
        while True:
            budget = self.training.max_tokens_per_microbatch
            try:
                return taught(self.patched, texts, objective.kept, base, self.max_length, self.positions, budget)
            except (RuntimeError, MemoryError) as error:
                longest = max(len(text.teacher) + len(text.ids) for text in texts)
                if not is_out_of_memory(error) or budget <= longest:
                    raise
            log.warning("out of memory on what a teacher reads; from now on half of %d tokens at a time", budget)
            self.training.max_tokens_per_microbatch = max(1, budget // 2)

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Submit jobs and yield each result as it comes, in the order of finishing."""
        for job in jobs:
            self.submit(job)
        while self.busy:
            yield from self.step()

    def step(self) -> list[JobResult]:
        """Train every busy slot for one step, or answer with the adapters that wait; the results that are ready."""
        results, self.refused = self.refused, []
        next_ones = list(islice(self.queue, self.slots - len(self.training.running)))
        room = self.training.room(next_ones) if next_ones else 0
        if room:
            self.training.admit([self.queue.popleft() for _ in next_ones[:room]])
        # What waits for its answers takes memory too: where that is short, no more wait than train.
        most = self.slots if room == len(next_ones) else len(self.training.running)
        if self.waiting and (len(self.waiting) >= most or not self.training.running):
            batch, self.waiting = self.waiting[: self.slots], self.waiting[self.slots :]
            results += self._answer(batch)
        elif self.training.running:
            for trained in self.training.step():
                if trained.failure:
                    results.append(_result(trained, failure=trained.failure))
                else:
                    self.waiting.append(trained)
        return results

    def steps_done(self, key: str) -> int:
        """How far a job in a slot is; 0 for one that is in none. May be asked from another thread."""
        return next((run.step for run in tuple(self.training.running) if run.prepared.job.key == key), 0)

    def sample(self, specs: Sequence[SampleSpec]) -> list[SampledText]:
        """Sample, each text under the adapter its spec names, on which and the spec alone it depends."""
        return _written(Sampling[int](self), specs, lambda spec: (spec.base, spec.prompt))

    def sampling(self, most: int) -> Sampling[Any]:
        """Sampling that goes on: texts are asked for at any time, and at most so many are written at once."""
        return Sampling(self, most)

    def log_probs(self, texts: Sequence[TokenText], base: str = BASE) -> list[tuple[float, ...]]:
        """The log-probability, under a resident adapter, of each learnt token of each text, none of which is cut."""
        if (longest := max((len(text.ids) for text in texts), default=0)) > self.positions:
            raise ValueError(f"a text of {longest} tokens exceeds the model's {self.positions} positions")
        rows = [(0, Text.of(text, self.positions)) for text in texts]
        return list(map(tuple, self._scored(Adapters.none([base]), rows)))

    def memory_per_slot(self, lora: LoraSpec) -> int:
        """Bytes a training slot holds for an adapter of this shape."""
        return BufferLayout(lora.rank, matching(self.patched.modules, lora.targets)).size * self.training.number_bytes()

    def _answer(self, batch: list[Trained]) -> list[JobResult]:
        """Answer all prompts of these adapters together."""
        started = time.perf_counter()
        slots, apart = _slots(batch)
        adapters = self._stacked(apart)
        requests, texts, compared = [], [], list[tuple[int, Text]]()
        for slot, trained in zip(slots, batch, strict=True):
            job = trained.job
            requests += [GenerateRequest(slot, prompt, job.max_new_tokens, job.stop) for prompt in job.prompts]
            texts += [(slot, text) for text in trained.prepared.statements]
            compared += [(slot, text) for text in trained.prepared.compared]
        reference = Adapters.none([trained.job.reference or BASE for trained in apart])
        try:
            answers = self._generated(adapters, requests)
            scores = self._scored(adapters, texts)
            diverged = self._scored(adapters, compared, reference)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                return [_result(batch[0], failure=Failure("infrastructure", "out of memory on a single prompt"))]
            return [result for trained in batch for result in self._answer([trained])]
        share = (time.perf_counter() - started) / len(batch)
        answered, scored, told = iter(answers), iter(scores), iter(diverged)
        return [
            _answered(
                trained,
                [next(answered) for _ in trained.job.prompts],
                [next(scored) for _ in trained.prepared.statements],
                [next(told) for _ in trained.prepared.compared],
                share,
            )
            for trained in batch
        ]

    def writing(self, adapters: Adapters, most: int = CACHE_TOKENS) -> Writing[Any]:
        """What writes texts under adapters, at most so many at once."""
        budget = self.training.max_tokens_per_microbatch
        return Writing(self.patched, adapters, self.stop_criteria, budget, self.row_tokens, most)

    def _generated(self, adapters: Adapters, requests: Sequence[GenerateRequest]) -> list[Answer]:
        """The answer to each request."""
        return _written(self.writing(adapters), requests, lambda request: (request.slot, request.prompt))

    def _scored(
        self, adapters: Adapters, texts: Sequence[tuple[int, Text]], reference: Adapters | None = None
    ) -> list[list[float]]:
        order = sorted(range(len(texts)), key=lambda number: texts[number][0])
        found = dict(zip(order, self._halving(adapters, [texts[number] for number in order], reference), strict=True))
        return [found[number] for number in range(len(texts))]

    def _halving(
        self, adapters: Adapters, texts: Sequence[tuple[int, Text]], reference: Adapters | None
    ) -> list[list[float]]:
        """Score texts, or where they run out of memory either half of them."""
        try:
            return score(self.patched, adapters, texts, self.training.max_tokens_per_microbatch, reference)
        except (RuntimeError, MemoryError) as error:
            if len(texts) == 1 or not is_out_of_memory(error):
                raise
        log.warning("out of memory while scoring %d at once; halved", len(texts))
        half = len(texts) // 2
        return self._halving(adapters, texts[:half], reference) + self._halving(adapters, texts[half:], reference)

    def _stacked(self, batch: Sequence[Trained]) -> Adapters:
        """The waiting adapters side by side, in the base's dtype."""
        jobs = [trained.job for trained in batch]
        blocks, first = list[Block](), 0
        for buffer_layout, alike in groupby(batch, lambda trained: trained.prepared.buffer_layout):
            weights = [trained.weight_P for trained in alike]
            flat_SP = weights[0].new_empty(len(weights), len(weights[0]), dtype=self.patched.dtype)
            for into_P, weight_P in zip(flat_SP, weights, strict=True):
                into_P.copy_(weight_P)
            blocks.append(Block(slice(first, first + len(flat_SP)), buffer_layout.views(flat_SP)))
            first += len(flat_SP)
        return Adapters(blocks, [job.lora.scale for job in jobs], [job.base for job in jobs])


def _slots(batch: Sequence[Trained]) -> tuple[list[int], list[Trained]]:
    """Each job's slot, and the job of each slot, with adapters of one shape side by side.

    Those that trained nothing, start from one adapter and are held against one share a slot.
    """
    jobs = [trained.prepared for trained in batch]
    places = [
        (prepared.job.base, prepared.job.reference) if prepared.job.texts is None else number
        for number, prepared in enumerate(jobs)
    ]
    apart = dict(zip(places, batch, strict=True))
    shapes = {layout: n for n, layout in enumerate(dict.fromkeys(prepared.buffer_layout for prepared in jobs))}
    order = sorted(apart, key=lambda place: shapes[apart[place].prepared.buffer_layout])
    slots = {place: slot for slot, place in enumerate(order)}
    return [slots[place] for place in places], [apart[place] for place in order]


def _written(writing: Any, asked: Sequence[Any], alike: Callable[[Any], Any]) -> list[Any]:
    """All texts that are asked for, in order. Those that begin alike are written together, to be read together."""
    for number in sorted(range(len(asked)), key=lambda number: alike(asked[number])):
        writing.add(number, asked[number])
    found: dict[int, Any] = {}
    while writing.busy:
        found.update(writing.step())
    return [found[number] for number in range(len(asked))]


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a text, as the model's generation settings and the tokenizer name them."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    named = [named] if isinstance(named, int) else list(named or ())
    return frozenset(token for token in (*named, tokenizer.eos_token_id) if token is not None)


def _answered(
    trained: Trained,
    answers: Sequence[Answer],
    scores: Sequence[Sequence[float]],
    diverged: Sequence[Sequence[float]],
    seconds: float,
) -> JobResult:
    """The result of a job whose prompts were answered; a failure where its adapter predicts no numbers."""
    if any(answer.broken for answer in answers) or not all(map(math.isfinite, chain(*scores, *diverged))):
        return _result(trained, seconds=seconds, failure=Failure("data", "the predictions are not finite"))
    return replace(_result(trained, answers, scores, seconds), divergences=_means(diverged))


def _means(scores: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(sum(values) / len(values) for values in scores)


def _result(
    trained: Trained,
    answers: Sequence[Answer] = (),
    scores: Sequence[Sequence[float]] = (),
    seconds: float = 0.0,
    failure: Failure | None = None,
) -> JobResult:
    run, job = trained.running, trained.job
    adapter = None
    if job.keep_adapter and job.texts is not None and failure is None:
        adapter = to_adapter(trained.weight_P, run.prepared.buffer_layout, job.lora)
    return JobResult(
        key=job.key,
        answers=tuple(answer.ids for answer in answers),
        answer_texts=tuple(answer.text for answer in answers),
        answers_cut=tuple(not answer.finished for answer in answers),
        log_likelihoods=_means(scores),
        losses=tuple(run.losses),
        steps=run.step,
        tokens=run.tokens,
        seconds=run.seconds + seconds,
        adapter=adapter,
        failure=failure,
        warnings=run.prepared.warnings,
    )
