"""Sampling with the Transformers model itself, batched through a bank: nothing to install, any device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.plain import first_decoded
from seal_ray.types import AdapterRef, Completion, DataError, SampleRequest, derive_seed
from seal_ray.workers.engines.text import render_prompt
from seal_ray.workers.one_thread import OneThread

if TYPE_CHECKING:
    from seal_ray.adapters.lora import Adapter
    from seal_ray.bank import Bank, SampleSpec
    from seal_ray.bank.sampling import Sampling

_AT_ONCE = 64
"""Texts that are written side by side."""
_GATHER_SECONDS = 0.02  # how long the first request waits for company
_TRIES = 4
"""How often a text that is to satisfy a schema is drawn."""


class TransformersEngine:
    """Requests that wait are sampled together; each row draws from its own seed, so company changes nothing."""

    name = "transformers"

    def __init__(self, bank: Bank, tokenizer: Any, thread: OneThread) -> None:
        self._bank, self._tokenizer, self._thread = bank, tokenizer, thread
        self._held: frozenset[str] = frozenset()
        """What is served, by the adapters' keys, which are the bank's too."""
        self._waiting: list[tuple[SampleSpec, asyncio.Future[Completion]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, spec: ModelSpec, feel: Callable[[Any], None] = lambda model: None) -> TransformersEngine:
        """`feel` is given the model once it is loaded, to notice its passes."""
        from seal_ray.bank import Bank

        thread = OneThread("sampling")
        tokenizer = await thread.run(load_tokenizer, spec)
        model = await thread.run(load_model, spec)
        feel(model)
        return cls(Bank(model, tokenizer, slots=1), tokenizer, thread)

    async def sample(self, request: SampleRequest) -> Completion:
        """Draw a text that is to satisfy a schema again until it does; the last try is given as it is."""
        completion = await self._sample(request)
        if request.schema is None:
            return completion
        for again in range(1, _TRIES):
            if (found := fitting(completion.text, request.schema)) is not None:
                return replace(completion, text=found, finished=True)
            completion = await self._sample(replace(request, seed=derive_seed("again", request.seed, again)))
        return replace(completion, text=fitting(completion.text, request.schema) or completion.text)

    async def _sample(self, request: SampleRequest) -> Completion:
        from seal_ray.bank import SampleSpec

        prompt = tuple(render_prompt(self._tokenizer, request.prompt))
        room = self._bank.positions - len(prompt)
        if room < 1:
            raise DataError(f"the prompt has {len(prompt)} tokens and the model's context {self._bank.positions}")
        spec = SampleSpec(
            prompt,
            request.seed,
            request.temperature,
            request.top_p,
            min(request.max_tokens, room),
            request.stop,
            base=request.base.key,
        )
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append((spec, future))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await future

    async def hold(self, *adapters: Adapter) -> None:
        wanted = {adapter.ref.key: adapter for adapter in adapters}
        async with self._turn:
            await self._thread.run(self._bank.load_missing, wanted)
            self._held = frozenset(wanted)
            self._drop_unused()

    async def log_probs(self, ids: Sequence[int], adapter: AdapterRef) -> list[float]:
        from seal_ray.bank import TokenText

        async with self._turn:
            found = await self._thread.run(self._bank.log_probs, [TokenText.of((), ids)], adapter.key)
        return list(found[0])

    async def close(self) -> None:
        """Leave what is being written: whoever asked for it is no more, and a run that fails is to say so at once."""
        if self._writing:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self) -> None:
        """Pass by pass while anything is asked. Who comes meanwhile joins, and what is held may change."""
        await asyncio.sleep(_GATHER_SECONDS)
        sampling, asked = self._sampling(), set[asyncio.Future[Completion]]()
        while self._waiting or sampling.busy:
            async with self._turn:  # taken first: what waits keeps its adapter loaded until it is sampled
                waiting, self._waiting = self._waiting, []
                coming = [each for each in waiting if not each[1].done()]  # who asked may have been stopped
                asked.update(future for _, future in coming)
                try:
                    for spec, future in coming:
                        try:
                            sampling.add(future, spec)
                        except ValueError as error:  # it is wrong by itself, and the others are not
                            future.set_exception(error)
                    over = await self._thread.run(sampling.step)
                except Exception as error:
                    for future in asked:
                        if not future.done():
                            future.set_exception(error)
                    sampling, asked, over = self._sampling(), set(), []
                self._drop_unused()
            asked.difference_update(future for future, _ in over)
            for future, text in over:
                if not future.done():
                    future.set_result(Completion(text.text, len(text.ids), text.finished))

    def _sampling(self) -> Sampling[asyncio.Future[Completion]]:
        return self._bank.sampling(_AT_ONCE)

    def _drop_unused(self) -> None:
        """Let go of what is no longer served, once nothing is asked under it."""
        self._bank.drop_unused({*self._held, *(spec.base for spec, _ in self._waiting)})


def fitting(text: str, schema: dict[str, Any]) -> str | None:
    """The first JSON object of a text when it satisfies the schema, else None."""
    import jsonschema

    try:
        found, end = first_decoded(text, start := text.index("{"))
        jsonschema.validate(found, schema)
    except (ValueError, jsonschema.ValidationError):
        return None
    return text[start:end]
