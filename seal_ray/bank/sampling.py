"""Sampling that goes on: who asks joins what is being written, as soon as there is a place."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from seal_ray.bank.generate import Answer, GenerateRequest
from seal_ray.bank.job import SampledText, SampleSpec
from seal_ray.bank.linear import Adapters
from seal_ray.bank.prepare import check_ids
from seal_ray.bank.residents import BASE
from seal_ray.bank.writing import CACHE_TOKENS, Writing

if TYPE_CHECKING:
    from seal_ray.bank.bank import Bank

log = logging.getLogger(__name__)
Key = TypeVar("Key")


@dataclass
class _Slot:
    """Texts under one resident adapter."""

    base: str
    texts: int = 0


class Sampling(Generic[Key]):
    """Texts of a bank, at most so many at once, each under the adapter its spec names.

    Jobs may be under way in the bank meanwhile; calls take turns with its steps, as all of a bank's calls do.
    """

    def __init__(self, bank: Bank, most: int = CACHE_TOKENS) -> None:
        self._bank, self._slots = bank, list[_Slot]()
        self._writing: Writing[tuple[Key, SampleSpec, _Slot]] = bank.writing(Adapters.none(()), most)
        bank.borrowers.add(self)

    @property
    def busy(self) -> bool:
        """Whether a text that was asked for is not over yet."""
        return self._writing.busy

    @property
    def bases(self) -> Collection[str]:
        """The adapters that it samples under."""
        return {slot.base for slot in self._slots if slot.texts}

    def add(self, key: Key, spec: SampleSpec) -> None:
        """Ask for a text, to come from `step` with this key; `ValueError` where the model has no room for it."""
        check_ids("the prompt", spec.prompt, self._bank.vocabulary)
        if spec.max_new_tokens < 1:
            raise ValueError(f"a text of {spec.max_new_tokens} tokens is none; ask for one at least")
        length, most = len(spec.prompt) + spec.max_new_tokens, self._bank.positions
        if length > most:
            raise ValueError(f"a prompt and its answer, {length} tokens, exceed the model's {most} positions")
        self._bank.patched.residents.check(spec.base)
        slot = self._slot(spec.base)
        slot.texts += 1
        self._writing.add((key, spec, slot), GenerateRequest.of(spec, self._slots.index(slot)))

    def step(self) -> list[tuple[Key, SampledText]]:
        """Make one pass of the model; the texts that are over with it."""
        over = self._writing.step()
        for (_, _, slot), _ in over:
            slot.texts -= 1
            if not slot.texts:
                slot.base = BASE  # the other may be dropped
        if over:
            self._lay_under()
        return [(key, self._sampled(spec, answer)) for (key, spec, _), answer in over]

    def _slot(self, base: str) -> _Slot:
        """That of an adapter, in the place of one that nothing is sampled under any more where there is such a one."""
        found = next((slot for slot in self._slots if slot.base == base), None)
        found = found or next((slot for slot in self._slots if not slot.texts), None)
        if not found:
            self._slots.append(found := _Slot(base))
        found.base = base
        self._lay_under()
        return found

    def _lay_under(self) -> None:
        self._writing.adapters = Adapters.none([slot.base for slot in self._slots])

    def _sampled(self, spec: SampleSpec, answer: Answer) -> SampledText:
        if answer.broken:
            where = f"{len(answer.ids)} tokens after a prompt of {len(spec.prompt)}"
            dtype = self._bank.patched.dtype
            log.warning("%s, the predictions are not finite in %s; the text is cut there", where, dtype)
        return SampledText(answer.ids, answer.text, answer.finished)
