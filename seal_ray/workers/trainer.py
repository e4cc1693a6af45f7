"""The actor that tries self-edits: a frozen base, and a bank that trains and queries many adapters on it at once."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.plugins import blamed
from seal_ray.types import BASE, AdapterRef, DataError, Example, Failure, FinetuneSpec, LoraSpec, Outcome, Prompt, Trial
from seal_ray.workers.engines.canary import Probe
from seal_ray.workers.engines.text import opened, render_example, render_opening, render_prompt
from seal_ray.workers.errors import WorkerLost, update_failed
from seal_ray.workers.one_thread import OneThread
from seal_ray.workers.pulse import Beating, on_its_own_thread

if TYPE_CHECKING:
    from seal_ray.bank import Adapter, Job, JobResult, TokenText
    from seal_ray.bank.replica import Replica
    from seal_ray.generator.spec import GeneratorSpec, Text, Trained, Written

_PROBE_TOKENS = 256


@dataclass(frozen=True)
class UpdateResult:
    """The adapter that an update has trained on top of a policy, and its losses."""

    adapter: Adapter
    losses: tuple[float, ...]
    worker: str
    warnings: tuple[str, ...] = ()


class Trainer(Beating):
    """Trials arrive one call each; the bank takes them into its slots as they come and finishes them as they end."""

    def __init__(self, model: ModelSpec, slots: int, max_tokens_per_microbatch: int) -> None:
        self._spec, self._slots, self._max_tokens = model, slots, max_tokens_per_microbatch
        self._name = f"trainer-{os.getpid()}"
        self._waiting: dict[str, asyncio.Future[JobResult]] = {}
        self._numbers = itertools.count()
        self._inbox: deque[Job] = deque()
        self._held: dict[str, Adapter] = {}
        """What trials may start from, by the adapters' keys, which are the bank's too."""
        self._driving: asyncio.Task[None] | None = None
        self._thread = OneThread("bank")
        self._alone = asyncio.Lock()
        self._turn = asyncio.Lock()
        """Held by whoever uses the bank: the trials, or the shared update."""
        self._replica: Replica | None = None
        self._updating = ""
        """The key of the job that is the update."""

    async def setup(self) -> None:
        """Load the base. Errors here are the user's to fix, or bugs; either stops the run."""
        await self._thread.run(self._load)

    def _load(self) -> None:
        from seal_ray.bank import Bank

        self._tokenizer = load_tokenizer(self._spec)
        self.feel(model := load_model(self._spec))
        self._bank = Bank(
            model,
            self._tokenizer,
            slots=self._slots,
            max_tokens_per_microbatch=self._max_tokens or None,
            max_length=self._spec.max_length,
        )

    async def hold(self, *adapters: Adapter) -> None:
        """Trials start from these, or from the base, from now on; one that is at work under another still ends."""
        wanted = {adapter.ref.key: adapter for adapter in adapters}
        async with self._turn:
            await self._thread.run(self._bank.load_missing, wanted)
            self._held = wanted
            self._bank.drop_unused({*wanted, *(key for job in self._inbox for key in (job.base, job.reference or ""))})

    async def run_trial(self, trial: Trial) -> Outcome:
        """Train, answer, and report; what is wrong with this trial's data alone is part of the report."""
        if trial.recipe and trial.recipe.lora is None:
            return await self._attempt_whole(trial)
        return (await self._attempt(trial))[0]

    async def _attempt_whole(self, trial: Trial) -> Outcome:
        """Run a trial that trains all weights of a copy of the base, one at a time."""
        from seal_ray.bank import Bank
        from seal_ray.bank.memory import is_out_of_memory
        from seal_ray.workers.full_finetune import finetune_all_weights, merge, too_large

        assert trial.recipe
        self._check(trial.base)
        if trial.recipe.objective or trial.reference is not None:
            unable = f"to {trial.recipe.objective.name!r}" if trial.recipe.objective else "held against a reference"
            reason = f"all weights are trained to the texts' tokens, and not {unable}"
            return Outcome(trial.key, failure=Failure("data", reason), worker=self._name)
        async with self._alone:
            start = time.monotonic()
            texts = [self._text(example) for example in trial.recipe.examples]
            self.feel(model := await asyncio.to_thread(load_model, self._spec))
            if trial.base.key:
                merge(model, self._held[trial.base.key])
            optim, length = trial.recipe.optim, self._bank.max_length
            try:
                losses = await asyncio.to_thread(finetune_all_weights, model, texts, optim, trial.seed, length)
            except DataError as error:
                return Outcome(trial.key, failure=Failure("data", str(error)), worker=self._name)
            except (RuntimeError, MemoryError) as error:
                raise (too_large(model) if is_out_of_memory(error) else error) from None
            bank = Bank(model, self._tokenizer, slots=1, max_length=length)
            job = replace(self._job(replace(trial, recipe=None), keep_adapter=False), base="")
            result = (await asyncio.to_thread(lambda: list(bank.run([job]))))[0]
        return replace(
            self._outcome(trial, result),
            seconds=time.monotonic() - start,
            first_loss=losses[0],
            last_loss=losses[-1],
            steps=len(losses),
            tokens=optim.epochs * sum(min(len(text.ids), length) for text in texts),
            warnings=tuple(f"a text of {len(t.ids)} tokens cut to {length}" for t in texts if len(t.ids) > length),
        )

    async def _attempt(self, trial: Trial, keep_adapter: bool = False) -> tuple[Outcome, Adapter | None]:
        self._check(trial.base, trial.reference or BASE)
        try:
            job = self._job(trial, keep_adapter)
        except DataError as error:
            return Outcome(trial.key, failure=Failure("data", str(error)), worker=self._name), None
        result = await self._run(self._numbered(job))
        if result.failure and result.failure.kind == "infrastructure":
            raise WorkerLost(result.failure.reason)  # another device may have the room; never a reward of 0
        return self._outcome(trial, result), result.adapter

    def _outcome(self, trial: Trial, result: JobResult) -> Outcome:
        return Outcome(
            trial.key,
            answers=result.answer_texts,
            cut=result.answers_cut,
            log_likelihoods=result.log_likelihoods,
            divergences=result.divergences,
            failure=result.failure,
            first_loss=result.losses[0] if result.losses else None,
            last_loss=result.losses[-1] if result.losses else None,
            steps=result.steps,
            tokens=result.tokens,
            seconds=result.seconds,
            worker=self._name,
            warnings=result.warnings,
        )

    async def train_adapter(self, trial: Trial) -> tuple[Outcome, Adapter | None]:
        """Only train; what was trained comes back, without what lies below it."""
        if trial.recipe is None:
            return Outcome(trial.key, worker=self._name), None
        outcome, adapter = await self._attempt(replace(trial, questions=()), keep_adapter=True)
        return replace(outcome, key=trial.key), adapter

    async def train_to_answer(self, trial: Trial) -> tuple[Outcome, Adapter | None]:
        """Only train; the adapter comes back with what lies below it, for the questions to be asked elsewhere."""
        from seal_ray.adapters.consolidate import Stack

        self._check(trial.base)
        under = self._held.get(trial.base.key)
        outcome, adapter = await self.train_adapter(trial)
        return outcome, Stack().consolidate(under, adapter).adapter

    async def train_generator(self, spec: GeneratorSpec, before: Trained, steps: int) -> Trained:
        """Take so many steps more of a generator's training."""
        return replace(await self._generate(spec.lora, "train", spec, before, steps), worker=self._name)

    async def write_adapters(self, lora: LoraSpec, trained: Trained, passages: Sequence[Text]) -> Written:
        """What a generator writes of passages, an adapter each."""
        from seal_ray.generator.spec import Written

        return Written(await self._generate(lora, "write", trained, passages), self._name)

    async def _generate(self, lora: LoraSpec, method: str, *args: Any) -> Any:
        from seal_ray.bank.memory import is_out_of_memory
        from seal_ray.generator.training import Generator

        most = self._bank.training.max_tokens_per_microbatch
        generator = Generator(self._bank.patched, self._text, lora, self._bank.max_length, most)
        async with self._turn:
            try:
                return await self._thread.run(getattr(generator, method), *args)
            except (RuntimeError, MemoryError) as error:
                raise (WorkerLost("out of memory on a single passage") if is_out_of_memory(error) else error) from None

    async def probe(self, prompt: Prompt, adapter: AdapterRef, before: AdapterRef, context: int = 0) -> Probe:
        """A text's log-probabilities with an adapter, with the one before it, and with none.

        No more of the text is taken than an engine with this context can score; 0: the model's own.
        """
        from seal_ray.bank import TokenText

        longest = min(_PROBE_TOKENS, (context or self._bank.positions) - 1)
        ids = tuple(render_prompt(self._tokenizer, prompt)[:longest])
        text = TokenText.of((), ids)
        async with self._turn:
            bases = [ref.key for ref in (adapter, before, BASE)]
            found = await self._thread.run(lambda: [self._bank.log_probs([text], base)[0] for base in bases])
        return Probe(ids, *found)

    async def update(self, finetune: FinetuneSpec) -> UpdateResult:
        """Train one adapter on top of a policy's."""
        self._check(finetune.base)
        job = self._numbered(self._update_job(finetune))
        self._updating = job.key
        result = await self._run(job)
        if result.failure:
            raise update_failed(result.failure.reason)
        assert result.adapter
        return UpdateResult(result.adapter, result.losses, self._name, result.warnings)

    @on_its_own_thread
    async def update_steps(self) -> int:
        """How many steps of its update are done, told whatever it is at."""
        return self._bank.steps_done(self._updating)

    async def batch_tokens(self, finetune: FinetuneSpec) -> int:
        """The usual number of tokens in a batch of an update."""
        most, total = finetune.optim.batch_size, 0
        for examples in (finetune.examples, finetune.anchor_examples):
            lengths = [min(len(self._text(example).ids), self._bank.max_length) for example in examples]
            total += sum(lengths) * min(most, len(lengths)) // max(1, len(lengths))
        return total

    async def join_update(self, finetune: FinetuneSpec) -> int:
        """Begin an update that is taken step by step, with other trainers or alone; how many steps it has."""
        from seal_ray.bank.replica import Replica

        self._check(finetune.base)
        job = self._update_job(finetune)
        async with self._turn:
            try:
                self._replica = await self._thread.run(Replica, self._bank, job)
            except DataError as error:
                raise update_failed(str(error)) from None
        return self._replica.steps

    async def in_update(self, method: str, *args: Any) -> Any:
        """Call this trainer's replica of the update."""
        from seal_ray.bank.slots import OutOfMemory

        async with self._turn:
            try:
                return await self._thread.run(getattr(self._replica, method), *args)
            except OutOfMemory as error:
                raise WorkerLost(str(error)) from None

    async def finish_update(self, *gradients: Any) -> UpdateResult:
        """Take the last step of a shared update; the losses are for the caller to add."""
        adapter = await self.in_update("finish", *gradients)
        if adapter is None:
            raise update_failed("the weights are not finite")
        assert self._replica
        warnings, self._replica = self._replica.warnings, None  # with its memory
        return UpdateResult(adapter, (), self._name, warnings)

    def _update_job(self, finetune: FinetuneSpec) -> Job:
        from seal_ray.bank import Job
        from seal_ray.bank.objectives import objective_of

        texts, held = (tuple(map(self._text, examples)) for examples in (finetune.examples, finetune.anchor_examples))
        return Job(
            self._name,
            texts,
            finetune.lora,
            finetune.optim,
            finetune.seed,
            anchor_examples=held,
            kl_coef=finetune.kl_coef,
            objective=objective_of(finetune.objective),
            base=finetune.base.key,
            keep_adapter=True,
        )

    def _job(self, trial: Trial, keep_adapter: bool) -> Job:
        from seal_ray.bank import Job
        from seal_ray.bank.objectives import objective_of

        recipe = trial.recipe
        training: dict[str, Any] = {"texts": None}
        if recipe is not None:
            texts, held = (tuple(map(self._text, examples)) for examples in (recipe.examples, recipe.anchors))
            training = {"texts": texts, "lora": recipe.lora, "optim": recipe.optim}
            training |= {"anchor_examples": held, "kl_coef": recipe.kl_coef}
            training["objective"] = objective_of(recipe.objective)
        return Job(
            trial.key,
            seed=trial.seed,
            prompts=tuple(tuple(render_prompt(self._tokenizer, question)) for question in trial.questions),
            max_new_tokens=trial.max_answer_tokens,
            stop=trial.stop,
            statements=tuple(self._text(statement) for statement in trial.statements),
            base=trial.base.key,
            reference=trial.reference.key if trial.reference is not None else None,
            keep_adapter=keep_adapter,
            **training,
        )

    def _check(self, *named: AdapterRef) -> None:
        for ref in named:
            if ref.key and ref.key not in self._held:
                raise RuntimeError(f"work that needs adapter {ref.key} reached a trainer that does not hold it")

    def _text(self, example: Example) -> TokenText:
        from seal_ray.bank import TokenText

        prompt, completion = render_example(self._tokenizer, example)
        if not example.teacher:
            return replace(TokenText.of(prompt, completion, example.learn_prompt), weight=example.weight)
        own = 0 if prompt else opened(self._tokenizer, example.completion)
        text = TokenText.of([*prompt, *completion[:own]], completion[own:])
        return replace(text, teacher=tuple(render_opening(self._tokenizer, example.teacher)), weight=example.weight)

    def _numbered(self, job: Job) -> Job:
        """The job under a key of its own: the same trial may be here twice, as a straggler's second try."""
        return replace(job, key=f"{next(self._numbers)}")

    async def _run(self, job: Job) -> JobResult:
        future = self._waiting[job.key] = asyncio.get_running_loop().create_future()
        self._inbox.append(job)
        if self._driving is None or self._driving.done():
            self._driving = asyncio.create_task(self._drive())
        return await future

    async def _drive(self) -> None:
        """Advance the bank while it has work. Each step runs in a thread, so that calls are taken meanwhile."""
        try:
            while self._inbox or self._bank.busy:
                async with self._turn:
                    results = await self._thread.run(self._step)
                for result in results:
                    if not (future := self._waiting.pop(result.key)).done():  # its caller may have been stopped
                        future.set_result(result)
        except Exception as error:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(blamed(error))
            self._waiting.clear()
            raise

    def _step(self) -> list[JobResult]:
        """The bank is touched by this thread alone."""
        while self._inbox:
            self._bank.submit(self._inbox.popleft())
        ended = self._bank.step()
        self._bank.drop_unused(self._held)
        return ended
