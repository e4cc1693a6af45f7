"""What the next policy is taught, and what it is held to meanwhile."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from seal_ray.adapters.lora import Adapter, tensor_names
from seal_ray.adapters.merge import stack
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.errors import writing
from seal_ray.events import Advanced, Event, Events, StageBegan
from seal_ray.policy import adapters
from seal_ray.policy.lineage import MAIN, adapter_of, lineage, sequence_head
from seal_ray.policy.repair import repair_policies
from seal_ray.policy.store import Grown, Policies
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow, PolicyRow
from seal_ray.record.segments import Damaged
from seal_ray.record.storage import Store
from seal_ray.types import BASE, AdapterRef, Example, FinetuneSpec, LoraSpec, OptimSpec, Policy, Prompt, SelfEdit
from seal_ray.workers.base import Cluster
from seal_ray.workers.trainer import UpdateResult
from seal_ray.workers.unfinished import Keeper
from seal_ray.workers.watched import OnSteps
from tests.runs import small_run

TASKS = MicroWorld().tasks("train", 3, 1)
WRITTEN = SelfEdit(TASKS[0].id, 0, 0, "write:", "notes", seed=1)
ADAPTER = Adapter(
    1, 1.0, ("q_proj",), {name: np.ones((1, 1), np.float32) for name in tensor_names("model.layers.0.self_attn.q_proj")}
)


class RecordsFinetune:
    """Stands where the cluster does, and keeps what it is given to teach."""

    finetune: FinetuneSpec

    async def update(self, finetune: FinetuneSpec, on_steps: OnSteps, keeper: Keeper) -> UpdateResult:
        self.finetune = finetune
        for steps in (4, 2):  # a lost worker's are done again
            on_steps(steps)
        return UpdateResult(ADAPTER, (2.0, 1.0), "")

    async def hold(
        self, adapters: Mapping[AdapterRef, Adapter], probe: Prompt, unwritten: Set[AdapterRef] = frozenset()
    ) -> None:
        self.held, self.unwritten = dict(adapters), set(unwritten)


class Heard:
    """An observer of how far stages are."""

    def __init__(self) -> None:
        self.stages: list[StageBegan | Advanced] = []

    def on(self, event: Event) -> None:
        if isinstance(event, StageBegan | Advanced):
            self.stages.append(event)

    def close(self) -> None:
        """Nothing is left open."""


FINETUNE = FinetuneSpec((Example("notes", "write:"),), LoraSpec(), OptimSpec(), seed=1)


def opened(folder: Path, cluster: RecordsFinetune, *more: str) -> tuple[Policies, Journal]:
    store = Store(str(folder))
    journal = Journal(store)
    config, workers = small_run(folder, *more), cast(Cluster, cluster)
    return Policies(config, store, journal, Events(journal), workers, "write:"), journal


def test_the_next_policy_is_trained_kept_and_held_by_the_workers(tmp_path: Path) -> None:
    policies, journal = opened(tmp_path, cluster := RecordsFinetune())
    policies._events.add([heard := Heard()])
    policy = asyncio.run(policies.next(policies.base, FINETUNE, kept=1))
    update = "round 1: update on 1 self-edit"
    assert heard.stages == [StageBegan(update, 10), Advanced(update, 4), Advanced(update, 6)], "steps, once each"
    assert (policy.version, policy.adapter) == (1, ADAPTER.ref)
    assert cluster.finetune == FINETUNE
    assert list(cluster.held) == [ADAPTER.ref]
    (row,) = journal.read(PolicyRow)
    assert (row.version, row.parent, row.kept, row.first_loss, row.last_loss) == (1, 0, 1, 2.0, 1.0)
    assert adapter_of(Store(str(tmp_path)), row).ref == ADAPTER.ref


def test_a_training_that_is_no_rounds_update_is_called_what_it_is(tmp_path: Path) -> None:
    policies, _ = opened(tmp_path, RecordsFinetune())
    policies._events.add([heard := Heard()])
    asyncio.run(policies.next(policies.base, FINETUNE, kept=0, stage="training on 2 passages"))
    assert {event.stage for event in heard.stages} == {"training on 2 passages"}


def test_a_policy_is_trained_on_top_of_its_parents_adapter_and_holds_both(tmp_path: Path) -> None:
    policies, journal = opened(tmp_path, cluster := RecordsFinetune())

    async def two_rounds() -> Policy:
        first = await policies.next(await policies.begin(), FINETUNE, kept=1)
        return await policies.next(first, replace(FINETUNE, seed=2), kept=1)

    second = asyncio.run(two_rounds())
    assert cluster.finetune.base == ADAPTER.ref
    assert cluster.held[second.adapter].rank == 2
    assert [row.version for row in lineage(journal)[MAIN]] == [1, 2]


def test_heads_move_beside_each_other_and_workers_hold_what_all_of_them_stand_on(tmp_path: Path) -> None:
    policies, journal = opened(tmp_path, cluster := RecordsFinetune())

    async def nothing() -> None:
        return None

    async def learns(scale: float) -> Grown:
        learned = replace(ADAPTER, alpha=scale)
        return Grown(learned, stack(ADAPTER, learned))

    async def two_sequences() -> None:
        start = await policies.next(await policies.begin(), FINETUNE, kept=1)
        heads = [await policies.move(sequence_head(n), start) for n in (0, 1)]
        one, _ = await policies.grow(heads[0], LearntRow("", "a", 2, 0, 1), lambda: learns(2.0))
        assert set(cluster.held) == {start.adapter, one.adapter}
        other, row = await policies.grow(heads[1], LearntRow("", "b", 4, 1, 1), lambda: learns(3.0))
        assert row.learned == replace(ADAPTER, alpha=3.0).ref.key, "what was trained alone is kept too"
        assert set(cluster.held) == {start.adapter, one.adapter, other.adapter}
        same, _ = await policies.grow(other, LearntRow("", "c", 5, 1, 2), nothing)
        assert same.adapter == other.adapter
        assert same.name != other.name
        await policies.end(sequence_head(0))
        assert set(cluster.held) == {start.adapter, other.adapter}

    asyncio.run(two_sequences())
    past = {head: [row.version for row in rows] for head, rows in lineage(journal).items()}
    assert past == {MAIN: [1], "sequence 0": [1, 2], "sequence 1": [1, 4, 5]}


def test_what_is_lent_is_held_for_asking_alone_and_no_longer_than_it_is_lent(tmp_path: Path) -> None:
    policies, _ = opened(tmp_path, cluster := RecordsFinetune())
    lent, written = replace(ADAPTER, alpha=2.0), ADAPTER.ref

    async def lend() -> None:
        await policies.next(await policies.begin(), FINETUNE, kept=1)
        assert await policies.lend("tried", lent) == lent.ref
        assert (set(cluster.held), cluster.unwritten) == ({written, lent.ref}, {lent.ref})
        assert (await policies.adapter(lent.ref)).alpha == 2.0
        assert await policies.lend("below", ADAPTER) == written
        assert cluster.unwritten == {lent.ref}, "what a policy stands on is written under, whoever else has it"
        await policies.end("tried", "below", "never begun")
        assert set(cluster.held) == {written}
        assert await policies.lend("nothing", None) == BASE

    asyncio.run(lend())


def test_what_is_on_record_is_not_trained_again_and_its_adapter_is_found_by_its_content(tmp_path: Path) -> None:
    policies, journal = opened(tmp_path, RecordsFinetune())
    first = asyncio.run(policies.next(policies.base, FINETUNE, kept=1))
    journal.flush()
    policies, _ = opened(tmp_path, cluster := RecordsFinetune())
    assert asyncio.run(policies.next(policies.base, FINETUNE, kept=1)) == first
    assert not hasattr(cluster, "finetune")
    assert list(cluster.held) == [ADAPTER.ref]


def test_an_adapter_is_called_by_its_content_whatever_wrote_it(tmp_path: Path) -> None:
    ADAPTER.save(tmp_path)
    assert Adapter.load(tmp_path).ref == replace(ADAPTER, alpha=1).ref == ADAPTER.ref
    others = [
        replace(ADAPTER, alpha=2.0),
        replace(ADAPTER, targets=("v_proj",)),
        replace(ADAPTER, tensors={name: 2 * tensor for name, tensor in ADAPTER.tensors.items()}),
        replace(ADAPTER, tensors={name: tensor.astype(np.float64) for name, tensor in ADAPTER.tensors.items()}),
    ]
    assert len({adapter.ref for adapter in [ADAPTER, *others]}) == 5


def test_no_adapter_is_damaged_for_want_of_room_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    store = Store(str(tmp_path))
    assert adapters.get(store, adapters.put(store, ADAPTER)).ref == ADAPTER.ref


def test_of_an_adapter_that_lacks_a_file_it_is_said_that_it_may_still_be_copied(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    ref = adapters.put(store, ADAPTER)
    (tmp_path / adapters.folder_of(ref) / "adapter_model.safetensors").unlink()
    for look in (lambda: adapters.get(store, ref), lambda: adapters.shape_of(store, adapters.folder_of(ref))):
        with pytest.raises(Damaged, match="a file is missing; of a copy that is still being made, wait for the rest"):
            look()


@pytest.mark.parametrize("instead", [Path.mkdir, os.mkfifo, Path.touch])
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_in_which_something_else_took_a_files_place_is_damaged(
    tmp_path: Path, name: str, instead: Callable[[Path], None]
) -> None:
    store = Store(str(tmp_path))
    ref = adapters.put(store, ADAPTER)
    file = tmp_path / adapters.folder_of(ref) / name
    file.unlink()
    instead(file)
    for look in (lambda: adapters.get(store, ref), lambda: adapters.shape_of(store, adapters.folder_of(ref))):
        with pytest.raises(Damaged, match=rf"{ref.key} is damaged \(.+\): `seal-ray repair"), writing("elsewhere"):
            look()


def test_an_adapter_that_two_policies_point_to_is_set_aside_for_both_and_both_are_made_again(tmp_path: Path) -> None:
    async def nothing() -> None:
        return None

    async def learns_nothing(policies: Policies) -> list[Policy]:
        start = await policies.next(await policies.begin(), FINETUNE, kept=1)
        head = await policies.move(sequence_head(0), start)
        return [start, (await policies.grow(head, LearntRow("", "a", 2, 0, 1), nothing))[0]]

    policies, journal = opened(tmp_path, RecordsFinetune())
    made = asyncio.run(learns_nothing(policies))
    journal.flush()
    store = Store(str(tmp_path))
    weights = f"adapters/{ADAPTER.ref.key}/adapter_model.safetensors"
    store.write(weights, store.read(weights)[:-1] + b"!")

    said = repair_policies(store)
    assert [line.split(":")[0] for line in said] == ["policies 1, 2"]
    assert all(f"damaged/{weights}" in line for line in said)
    assert not lineage(Journal(store))
    policies, journal = opened(tmp_path, cluster := RecordsFinetune())
    assert asyncio.run(learns_nothing(policies)) == made
    assert hasattr(cluster, "finetune")
    journal.flush()
    assert repair_policies(store) == []
