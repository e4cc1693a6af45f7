"""What the next policy is taught, and what it is held to meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seal_ray.bank.adapter import Adapter, tensor_names
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.policies import Policies, load_policy
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.types import Example, Lesson, SelfEdit
from seal_ray.ui import Silent
from seal_ray.update.select import Candidate
from seal_ray.workers.trainer import UpdateResult
from tests.runs import small_run

TASKS = MicroWorld().tasks("train", 3, 1)
WRITTEN = SelfEdit(TASKS[0].id, 0, 0, "write:", "notes", seed=1)
ADAPTER = Adapter(
    1, 1.0, ("q_proj",), {name: np.ones((1, 1), np.float32) for name in tensor_names("model.layers.0.self_attn.q_proj")}
)


class OneLesson:
    """Stands where the crew does, and keeps what it is given to teach."""

    lesson: Lesson

    async def update(self, lesson: Lesson, max_rank: int) -> UpdateResult:
        self.lesson = lesson
        return UpdateResult(ADAPTER, (2.0, 1.0), 0.0, "")

    async def set_policy(self, *served: Any) -> None:
        self.served = served


@pytest.mark.parametrize("hold", [0.0, 10.0])
def test_the_policy_is_held_to_the_answers_of_all_the_rounds_questions_or_to_nothing(
    hold: float, tmp_path: Path
) -> None:
    config, store, crew = small_run(tmp_path, "--update.hold", f"{hold}"), Store(str(tmp_path)), OneLesson()
    policies = Policies(config, store, Journal(store), crew, probe="write:")  # type: ignore[arg-type]
    version = asyncio.run(policies.next([Candidate(WRITTEN, (1.0,))], TASKS, Silent()))
    assert crew.lesson.examples == (Example("notes", "write:"),)
    asked = tuple(Example(question.answer, question.prompt) for task in TASKS for question in task.questions)
    assert crew.lesson.held == (asked if hold else ())
    assert crew.lesson.hold == hold
    assert crew.served[0] == version == 1
    assert load_policy(store, 1).tensors.keys() == ADAPTER.tensors.keys()


def test_a_self_edit_that_was_cut_off_teaches_no_end_at_the_cut(tmp_path: Path) -> None:
    config, store, crew = small_run(tmp_path), Store(str(tmp_path)), OneLesson()
    policies = Policies(config, store, Journal(store), crew, probe="write:")  # type: ignore[arg-type]
    kept = [Candidate(edit, (1.0,)) for edit in (WRITTEN, replace(WRITTEN, finished=False))]
    asyncio.run(policies.next(kept, TASKS, Silent()))
    assert crew.lesson.examples == (Example("notes", "write:"), Example("notes", "write:", whole=False))
