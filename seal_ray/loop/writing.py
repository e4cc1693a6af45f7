"""Has self-edits written, each once, whatever was written before and whoever wants it again."""

from __future__ import annotations

import logging
from dataclasses import replace

from seal_ray.domains.base import Domain
from seal_ray.gathering import Once
from seal_ray.loop.place import filled
from seal_ray.loop.workshop import Workshop
from seal_ray.record.rows import SelfEditRow
from seal_ray.types import Policy, SampleRequest, SelfEdit, Task

logger = logging.getLogger(__name__)


class Writer:
    """Asks policies for self-edits, and keeps what is on record of them."""

    def __init__(self, shop: Workshop) -> None:
        self._settings, self._cluster, self._events = shop.config.sampling, shop.cluster, shop.events
        self._names, self._beside = shop.names, shop.beside
        self._once = Once()
        self._written = {row.key: row.written for row in shop.journal.read(SelfEditRow)}

    async def write(
        self,
        policy: Policy,
        domain: Domain,
        task: Task,
        index: int,
        seed: int,
        stage: str,
        strategy: str = "",
        brief: int = 0,
    ) -> SelfEdit:
        """What this policy writes of a task when the domain asks for it: from the journal, or by asking.

        Where it is to be `brief` it is the likeliest text, of so many tokens at most, and not drawn as self-edits are.
        """
        settings, prompt = self._settings, domain.prompt(task)
        request = SampleRequest(
            policy.adapter,
            prompt,
            seed,
            0.0 if brief else settings.temperature,
            settings.top_p,
            min(brief, settings.max_tokens) if brief else settings.max_tokens,
            domain.sample_stop,
            domain.schema,
        )
        name = self._names.self_edit(request, policy)
        edit = SelfEdit(task.id, index, policy.version, prompt, "", seed, name=name, strategy=strategy)
        written = self._written.get(edit.key)
        if written is None and (row := self._beside.self_edits.get(edit.key)):
            written = self._written[edit.key] = row.written
            self._events.emit(replace(row, stage=stage, strategy=strategy))
        if written is None:
            await self._once.do(edit.key, lambda: self._ask(request, edit, stage))
        return filled(edit, self._written[edit.key])

    async def _ask(self, request: SampleRequest, edit: SelfEdit, stage: str) -> None:
        written = await self._cluster.sample(request)
        if written.refused:
            logger.warning("%s: no self-edit: %s", edit.task_id, written.refused)
        self._written[edit.key] = replace(written, worker="")
        self._events.emit(SelfEditRow.of(filled(edit, written), stage, written.worker))
