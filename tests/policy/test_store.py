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
from seal_ray.events import Events
from seal_ray.policy.store import Policies, load_policy
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.selection.rules import Candidate
from seal_ray.types import Example, FinetuneSpec, SelfEdit
from seal_ray.workers.trainer import UpdateResult
from tests.runs import small_run

TASKS = MicroWorld().tasks("train", 3, 1)
WRITTEN = SelfEdit(TASKS[0].id, 0, 0, "write:", "notes", seed=1)
ADAPTER = Adapter(
    1, 1.0, ("q_proj",), {name: np.ones((1, 1), np.float32) for name in tensor_names("model.layers.0.self_attn.q_proj")}
)


class RecordsFinetune:
    """Stands where the cluster does, and keeps what it is given to teach."""

    finetune: FinetuneSpec

    async def update(self, finetune: FinetuneSpec, max_rank: int) -> UpdateResult:
        self.finetune = finetune
        return UpdateResult(ADAPTER, (2.0, 1.0), 0.0, "")

    async def set_policy(self, *served: Any) -> None:
        self.served = served


@pytest.mark.parametrize("kl_coef", [0.0, 10.0])
def test_the_policy_is_held_to_the_answers_of_all_the_rounds_questions_or_to_nothing(
    kl_coef: float, tmp_path: Path
) -> None:
    config, store, cluster = (
        small_run(tmp_path, "--update.kl_coef", f"{kl_coef}"),
        Store(str(tmp_path)),
        RecordsFinetune(),
    )
    policies = Policies(config, store, journal := Journal(store), Events(journal), cluster, probe="write:")  # type: ignore[arg-type]
    version = asyncio.run(policies.next([Candidate(WRITTEN, (1.0,))], TASKS))
    assert cluster.finetune.examples == (Example("notes", "write:"),)
    asked = tuple(Example(question.answer, question.prompt) for task in TASKS for question in task.questions)
    assert cluster.finetune.anchor_examples == (asked if kl_coef else ())
    assert cluster.finetune.kl_coef == kl_coef
    assert cluster.served[0] == version == 1
    assert load_policy(store, 1).tensors.keys() == ADAPTER.tensors.keys()


def test_a_self_edit_that_was_cut_off_teaches_no_end_at_the_cut(tmp_path: Path) -> None:
    config, store, cluster = small_run(tmp_path), Store(str(tmp_path)), RecordsFinetune()
    policies = Policies(config, store, journal := Journal(store), Events(journal), cluster, probe="write:")  # type: ignore[arg-type]
    kept = [Candidate(edit, (1.0,)) for edit in (WRITTEN, replace(WRITTEN, finished=False))]
    asyncio.run(policies.next(kept, TASKS))
    assert cluster.finetune.examples == (Example("notes", "write:"), Example("notes", "write:", whole=False))
