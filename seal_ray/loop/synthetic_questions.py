"""Has a model write questions for tasks that came without any. What it writes goes on record, marked as synthetic."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from seal_ray.config import Questions
from seal_ray.domains.base import NeedsQuestions
from seal_ray.endpoints.patience import Patience
from seal_ray.events import Advanced, StageBegan
from seal_ray.gathering import all_of
from seal_ray.record.rows import QuestionRow, prompt_text
from seal_ray.types import DataError, Prompt, SampleRequest, Task, UserError, content_key, derive_seed

if TYPE_CHECKING:
    from seal_ray.loop.session import Session

logger = logging.getLogger(__name__)

_TOKENS = 512
_TEMPERATURE = 0.7
"""Of whoever is asked again."""
_STAGE = "questions for passages without"


async def with_questions(session: Session, tasks: Sequence[Task]) -> Sequence[Task]:
    """The tasks with questions: those that came without get a model's, and are left out when none is usable.

    The server that `[questions]` names writes them, or without one the run's own base. `UserError` if nothing is left.
    """
    domain, events = session.domain, session.events
    if not isinstance(domain, NeedsQuestions):
        return tasks
    prompts = {task.id: prompt for task in tasks if (prompt := domain.question_prompt(task)) is not None}
    if not prompts:
        return tasks
    events.emit(StageBegan(_STAGE, len(prompts)))
    writer = QuestionWriter(session)

    async def write(task_id: str, prompt: Prompt) -> str:
        text = await writer.write(task_id, prompt)
        events.emit(Advanced(_STAGE))
        return text

    written = await all_of(write(*each) for each in prompts.items())
    texts = dict(zip(prompts, written, strict=True))
    found = [domain.with_questions(task, texts[task.id]) if task.id in texts else task for task in tasks]
    kept = [task for task in found if task is not None]
    if not kept:
        raise UserError("no passage got a usable question; let a stronger model write them, or give your own")
    if len(kept) < len(tasks):
        logger.warning("%d of %d passages got no usable question and are left out", len(tasks) - len(kept), len(tasks))
    return kept


class QuestionWriter:
    """Whoever writes questions: the server that `[questions]` names, or without one the run's own base."""

    def __init__(self, session: Session) -> None:
        self._session, self._settings = session, session.config.questions
        self._known = {row.key: row.completion for row in session.journal.read(QuestionRow)}
        self._bounded = asyncio.Semaphore(256)
        self._patience = Patience(self._settings.patience, "questions.patience")

    async def write(self, task_id: str, prompt: Prompt, again: int = 0, tokens: int = _TOKENS) -> str:
        """The model's text, from the record or by asking: the likeliest, or another where it is asked `again`."""
        settings, session = self._settings, self._session
        key = session.names.questions(settings.endpoint, settings.endpoint_model, task_id, prompt)
        request = SampleRequest.greedy(prompt, tokens)
        if again:
            seed = derive_seed("questions", session.config.run.seed, task_id, again)
            request = replace(request, seed=seed, temperature=_TEMPERATURE)
        if (again, tokens) != (0, _TOKENS):
            key = content_key(key, request)
        if key not in self._known:
            async with self._bounded:
                if settings.endpoint:
                    text = await self._patience.until_answered(lambda: _asked_elsewhere(settings, request))
                elif again:
                    text = (await session.cluster.sample(request)).text
                else:
                    (text,) = await session.cluster.ask([prompt], tokens)
            self._known[key] = text
            row = QuestionRow(key, task_id, prompt_text(prompt), text, settings.endpoint_model or "base")
            session.events.emit(row)
        return self._known[key]


async def _asked_elsewhere(settings: Questions, request: SampleRequest) -> str:
    """What the server writes; nothing where it refuses this passage."""
    from seal_ray.endpoints.openai_client import ChatClient  # only this way of asking needs httpx
    from seal_ray.workers.engines.endpoint import EndpointEngine

    async with ChatClient(settings.endpoint, settings.endpoint_model, settings.key_env) as client:
        try:
            return (await EndpointEngine(client).sample(request)).text
        except DataError as error:
            logger.warning("no questions for a passage: %s", error)
            return ""
