"""The network that writes adapters: trained once on the run's training passages, kept, and asked for every passage.

How far it has come is kept in the run's directory, so that a run that was stopped goes on from there; what it writes is
worked out again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import cast

from seal_ray.config import Config
from seal_ray.domains.base import Domain, Studied
from seal_ray.events import Advanced, StageBegan
from seal_ray.generator.spec import GeneratorSpec, Lesson, Trained
from seal_ray.loop.session import Session
from seal_ray.methods.generated import Generated
from seal_ray.plain import counted
from seal_ray.policy.unfinished import Kept
from seal_ray.types import Example, LoraSpec, Policy, Task, UserError, content_key, derive_seed
from seal_ray.workers.unfinished import Unfinished

logger = logging.getLogger(__name__)

_FOLDER, _STEPS = "generators", 50
"""Where networks are kept, and how many steps a worker takes at a time."""


def check_generated(name: str, method: Generated, config: Config, domain: Domain) -> None:
    """Refuse a network that would have nothing to learn from, or nothing to write for."""
    if next(_lessons(method, config, domain), None) is None:
        lacks = "with questions " if method.answers else ""
        raise UserError(f"{name}: the domain {domain.name!r} has no training passage {lacks}to learn from; give some")


@dataclass(frozen=True)
class Writer:
    """A network that has learnt to write, with the run whose workers it writes on."""

    session: Session
    name: str
    """The method that it is of."""
    spec: GeneratorSpec
    trained: Trained

    @asynccontextmanager
    async def lent(self, tasks: Sequence[Task]) -> AsyncIterator[list[Policy]]:
        """The adapters written for these tasks, as policies to start trials from; workers hold them meanwhile."""
        session, domain = self.session, cast(Studied, self.session.domain)
        texts = [domain.text(task) for task in tasks]
        adapters = await session.cluster.write_adapters(self.spec.lora, self.trained, texts)
        heads = {f"{self.name} {task.id}": adapter for task, adapter in zip(tasks, adapters, strict=True)}
        await session.policies.lend_each(heads)
        try:
            refs = [adapter.ref for adapter in adapters]
            yield [Policy(content_key(session.names.model, _FOLDER, ref), adapter=ref) for ref in refs]
        finally:
            await session.policies.end(*heads)


async def writer(session: Session, name: str, method: Generated) -> Writer:
    """The network of a method, trained as far as that is missing."""
    config = session.config.generated
    lessons = tuple(islice(_lessons(method, session.config, session.domain), config.passages))
    seed, targets = derive_seed(_FOLDER, session.config.run.seed), session.config.trial.lora.targets
    spec = GeneratorSpec(lessons, LoraSpec(config.rank, config.rank, targets), config.steps, config.lr, seed)
    kept = Kept(session.store, content_key(session.names.model, spec.key), _FOLDER)
    before = await asyncio.to_thread(kept.found)
    trained = Trained(before.losses, before.numbers) if before else Trained()
    session.events.emit(StageBegan(f"{name}: training", spec.steps - len(trained.losses)))
    while (done := len(trained.losses)) < spec.steps:
        trained = await session.cluster.train_generator(spec, trained, _STEPS)
        session.events.emit(Advanced(f"{name}: training", len(trained.losses) - done))
        if kept.is_due or len(trained.losses) == spec.steps:
            await asyncio.to_thread(kept.keep, Unfinished(trained.losses, trained.numbers))
    passages, last = counted(len(lessons), "passage"), trained.losses[-1]
    logger.info("%s: the network has learnt from %s, loss %.3f to %.3f", name, passages, trained.losses[0], last)
    return Writer(session, name, spec, trained)


def _lessons(method: Generated, config: Config, domain: Domain) -> Iterator[Lesson]:
    """Training passages, each once, in as many draws as bring new ones."""
    studied, known = cast(Studied, domain), set[str]()
    for draw in count():
        before = len(known)
        for task in domain.tasks("train", None, derive_seed(_FOLDER, config.run.seed, draw)):
            answers = _answers(studied, task) if method.answers else ()
            lesson = Lesson(studied.text(task), answers)
            key = content_key(lesson)
            if key not in known and (answers or not method.answers):
                known.add(key)
                yield lesson
        if len(known) == before:
            return


def _answers(domain: Studied, task: Task) -> tuple[Example, ...]:
    """Right answers, as the domain states them where it does."""
    asked = (Example(question.answer, question.prompt, whole=False) for question in task.questions)
    return tuple(domain.statements(task) or asked)
