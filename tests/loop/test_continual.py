"""Sequences of passages know nothing of each other, and are learnt side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from seal_ray.adapters.lora import Adapter
from seal_ray.continual.base import WAYS
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.domains.microworld.world import MicroTask, entries
from seal_ray.loop import continual
from seal_ray.loop.run import run
from seal_ray.policy import adapters
from seal_ray.policy.lineage import adapter_of, lineage
from seal_ray.record.continual import FOUND, by_way, orders
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow
from seal_ray.record.storage import Store
from seal_ray.types import AdapterRef, Example, Policy, Recipe, Task, UserError
from tests.runs import results, small_run

ONLY = [
    *("--workers.address", "in-process", "--run.rounds", "0", "--evaluation.samples", "0"),
    *("--evaluation.baselines", "[]", "--continual.sequences", "3", "--continual.passages", "2"),
]


@pytest.mark.slow
def test_side_by_side_sequences_learn_what_each_learns_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(small_run(tmp_path / "beside", *ONLY))
    monkeypatch.setattr(continual, "SEQUENCES_AT_ONCE", 1)
    run(small_run(tmp_path / "alone", *ONLY))
    beside, alone = results(tmp_path / "beside"), results(tmp_path / "alone")
    assert beside == alone
    of_both = [Store(str(tmp_path / name)) for name in ("beside", "alone")]
    one, other = ({h: adapter_of(s, rows[-1]) for h, rows in lineage(Journal(s)).items()} for s in of_both)
    assert one.keys() == other.keys() == {"sequence 0", "sequence 1", "sequence 2"}
    for head, adapter in one.items():
        for name, tensor in adapter.tensors.items():
            np.testing.assert_allclose(tensor, other[head].tensors[name], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_trials_of_several_sequences_are_in_one_bank_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seal_ray.bank import Bank

    bases: list[frozenset[str]] = []
    step: Callable[..., object] = Bank.step

    def watched(self: Bank) -> object:
        bases.append(self.in_use() - {""})
        return step(self)

    monkeypatch.setattr(Bank, "step", watched)
    run(small_run(tmp_path / "run", *ONLY))
    assert max(map(len, bases)) > 1, "a pass has rows of several policies"


IN_EVERY_WAY = [*ONLY[:-4], "--continual.sequences", "1", "--continual.passages", "3", "--continual.ask_every", "2"]


@pytest.fixture(scope="module")
def every_way(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three passages in turn, in every way there is."""
    folder = tmp_path_factory.mktemp("every") / "run"
    run(small_run(folder, *IN_EVERY_WAY, "--continual.ways", json.dumps(list(WAYS))))
    return folder


@pytest.mark.slow
def test_every_way_learns_the_same_passages_and_is_asked_the_same(every_way: Path) -> None:
    journal = Journal(Store(str(every_way)))
    found = {order.way: order for order in orders(journal)}
    assert found.keys() == WAYS.keys()
    for name, order in found.items():
        assert order.steps == [0, 2, 3], "all are asked after every second passage, and at the end"
        assert set(order.asked[1]) == {0}, "the newest is asked always"
        assert order.learnt == {"none": frozenset(), "joint": frozenset({2, 3})}.get(name, frozenset({1, 2, 3}))
        assert order.figures()["known before, before"] == 1.0, "people whom the base knows by heart"
        assert bool(order.tokens) == (name != "none")
    of = {row.way: row.task_id for row in journal.read(LearntRow) if row.step == 3}
    assert set(of) == set(WAYS) - {"none"}
    assert len(set(of.values())) == 1


@pytest.mark.slow
def test_what_learns_nothing_stays_and_a_library_loses_nothing_of_what_it_learnt(every_way: Path) -> None:
    table = by_way(orders(Journal(Store(str(every_way)))))
    assert table["none"]["at the end"] == table["none"]["before"]
    assert table["library"]["forgotten"] == 0.0
    assert table["library"]["at the end"] > table["merge"]["at the end"] >= table["none"]["at the end"]
    assert table["joint"]["tokens"] > table["merge"]["tokens"]
    known = {way: row["known before, at the end"] for way, row in table.items()}
    assert known["rehearse"] > known["replay-last-layers"]
    assert known["kl"] > known["last-layers"]
    moved = {way: row["moved, nats a token"] for way, row in table.items()}
    assert moved["none"] == 0.0 == pytest.approx(moved["library"], abs=1e-9)
    assert moved["merge"] > 0.0 != table["merge"]["plain texts, nats a token"]


@pytest.mark.slow
def test_of_a_library_it_is_told_how_many_questions_find_their_own_lesson(every_way: Path) -> None:
    journal = Journal(Store(str(every_way)))
    table = by_way(orders(journal))
    assert {way for way, row in table.items() if FOUND in row} == {"library"}
    found = {row.step: row.found for row in journal.read(LearntRow) if row.way == "library"}
    assert found[1] is None, "not all are asked then"
    assert found[2]
    assert found[3] == table["library"][FOUND] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("call", [3, 4, 8])
def test_a_kill_between_deciding_and_entering_leaves_a_policy_as_it_was_before_or_as_it_is_after(
    call: int, every_way: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = ["--continual.ways", '["merge", "gated", "library"]']
    config = small_run(tmp_path / "run", *IN_EVERY_WAY, *ways)
    put, calls = adapters.put, 0

    def cut_short(store: Store, adapter: Adapter) -> AdapterRef:
        nonlocal calls
        calls += 1
        if calls == call:
            raise UserError("stopped here")
        return put(store, adapter)

    monkeypatch.setattr(adapters, "put", cut_short)
    with pytest.raises(UserError, match="stopped here"):
        run(config)
    before, undisturbed = entered(config.dir), entered(every_way)
    run(config)
    after = entered(config.dir)
    assert len(after) == 9 > len(before)
    for found in (before, after):
        for key, sums in found.items():
            np.testing.assert_allclose(sums, undisturbed[key], rtol=1e-6, err_msg="what is on record is whole")


def entered(folder: Path | str) -> dict[str, list[float]]:
    """What stands for the adapters of every step on record: the policy's, and what one passage alone was taught."""
    store, found = Store(str(folder)), {}
    for row in Journal(store).read(LearntRow):
        loaded = [adapters.get(store, AdapterRef(key)) for key in (row.adapter, row.learned) if key]
        # The factors that compression leaves are any that have their product.
        found[row.key] = [float(np.abs(up @ down).sum()) for one in loaded for down, up in map(one.pair, one.modules)]
    return found


def test_no_order_comes_twice(tmp_path: Path) -> None:
    config = small_run(tmp_path, "--continual.sequences", "6", "--continual.passages", "3")
    tasks = MicroWorld().tasks("test", 3, 1)
    found = [tuple(task.id for task in order) for order in continual.orders_of(config, tasks)]
    assert len(set(found)) == 6, "all that three passages have"
    fewer = replace(config, continual=replace(config.continual, sequences=2))
    assert [tuple(task.id for task in order) for order in continual.orders_of(fewer, tasks)] == found[:2]


@pytest.mark.parametrize(
    ("rows", "before"), [([], 7), ([(0, 1, 8), (1, 1, 9), (0, 2, 10)], 7), ([(0, 1, 8), (0, 2, 9)], 9)]
)
def test_policies_of_streams_are_numbered_passage_by_passage_or_after_all_that_an_older_version_numbered(
    rows: list[tuple[int, int, int]], before: int, tmp_path: Path
) -> None:
    config = small_run(tmp_path, "--continual.sequences", "2", "--continual.passages", "2")
    journal = Journal(Store(str(tmp_path)))
    for sequence, step, version in rows:
        journal.record(LearntRow(f"{sequence}/{step}", version=version, sequence=sequence, step=step))
    session = SimpleNamespace(config=config, journal=journal)
    assert continual.numbered_before(session, Policy("start", 7)) == before  # type: ignore[arg-type]


class Liar(MicroWorld):
    """After the first passage, every self-edit says the opposite of it."""

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        said = super().recipe(task, completion, seed)
        first = Liar.first = getattr(Liar, "first", None) or task
        if task.id == first.id:
            return said
        assert isinstance(first, MicroTask)
        values = [fact.value for fact in first.facts]
        lies = [fact._replace(value=value) for fact, value in zip(first.facts, values[2:] + values[:2], strict=True)]
        return replace(said, examples=tuple(Example(line) for line in entries(lies)))


@pytest.mark.slow
def test_a_gate_does_not_let_in_what_contradicts_what_is_known(tmp_path: Path) -> None:
    poisoned = ["--domain.name", "tests.loop.test_continual:Liar", "--continual.sequences", "1"]
    ways = ["--continual.passages", "2", "--continual.ways", '["merge", "gated"]', "--continual.writer", "start"]
    run(small_run(tmp_path / "run", *ONLY[:-4], *poisoned, *ways, "--domain.options.directions", '["forward"]'))
    table = by_way(orders(Journal(Store(str(tmp_path / "run")))))
    just, merged, gated = (table[way]["matrix"] for way in ("gated", "merge", "gated"))
    assert merged[2][0] < just[1][0], "without a gate the first passage is forgotten for the lie"
    assert gated[2][0] == just[1][0]
    rows = {row.step: row for row in Journal(Store(str(tmp_path / "run"))).read(LearntRow) if row.way == "gated"}
    assert rows[2].learned, "it was trained"
    assert rows[2].adapter == rows[1].adapter, "and kept out"
