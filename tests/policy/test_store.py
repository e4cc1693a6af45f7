"""What the next policy is taught, and what it is held to meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from seal_ray.adapters.lora import Adapter, tensor_names
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.events import Events
from seal_ray.policy.store import Policies, load_policy
from seal_ray.record.journal import Journal
from seal_ray.record.rows import PolicyRow
from seal_ray.record.storage import Store
from seal_ray.types import Example, FinetuneSpec, LoraSpec, OptimSpec, SelfEdit
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


def test_the_next_policy_is_trained_kept_and_served(tmp_path: Path) -> None:
    config, store, cluster = small_run(tmp_path), Store(str(tmp_path)), RecordsFinetune()
    policies = Policies(config, store, journal := Journal(store), Events(journal), cluster, probe="write:")  # type: ignore[arg-type]
    finetune = FinetuneSpec((Example("notes", "write:"),), LoraSpec(), OptimSpec(), seed=1)
    assert asyncio.run(policies.next(finetune, kept=1)) == 1
    assert cluster.finetune == finetune
    assert cluster.served[0] == 1
    assert load_policy(store, 1).tensors.keys() == ADAPTER.tensors.keys()
    (row,) = journal.read(PolicyRow)
    assert (row.version, row.parent, row.kept, row.first_loss, row.last_loss) == (1, 0, 1, 2.0, 1.0)
