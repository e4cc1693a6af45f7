"""A run goes on with more passages in turn, and comes to what one that had all of them at once comes to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seal_ray.adapters.lora import Adapter
from seal_ray.cli.app import main
from seal_ray.config import Config, load
from seal_ray.domains.base import Split
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.domains.microworld.world import MicroTask
from seal_ray.loop.run import run
from seal_ray.policy import adapters
from seal_ray.record.continual import by_way, orders
from seal_ray.record.journal import Journal
from seal_ray.record.methods import Arm
from seal_ray.record.methods import learnt as learnt_by
from seal_ray.record.rows import LearntRow, RetractedRow
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import recorded_config
from seal_ray.rundir.frozen import drawn_before
from seal_ray.rundir.growing import Passages
from seal_ray.types import AdapterRef, UserError
from tests.runs import CONFIG, SMALL, results

WAYS = ["merge", "replay-last-layers", "library", "joint"]
NONE = ("--continual.ways", '["none"]')


def asked(folder: Path, passages: int, *more: str, order: str = "given") -> list[str]:
    """Passages of the micro-world in turn: as they are listed, or of six in drawn orders."""
    held_out = str(passages if order == "given" else 6)
    return [
        *(*SMALL, "--run.dir", str(folder), "--workers.address", "in-process", "--run.rounds", "0"),
        *("--evaluation.samples", "0", "--evaluation.baselines", "[]", "--continual.sequences", "1"),
        *("--trial.optim.epochs", "2", "--trial.lora.rank", "2", "--continual.passages", str(passages)),
        *("--domain.test", held_out, "--continual.order", order, "--continual.ways", json.dumps(WAYS), *more),
    ]


def turns(folder: Path, passages: int, *more: str, order: str = "given") -> Config:
    return load(CONFIG, asked(folder, passages, *more, order=order))


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three passages."""
    folder = tmp_path_factory.mktemp("at_once") / "run"
    run(turns(folder, 3))
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two of them."""
    folder = tmp_path_factory.mktemp("two") / "run"
    run(turns(folder, 2))
    return folder


@pytest.fixture
def begun(two: Path, tmp_path: Path) -> Path:
    """The run of two passages, in a folder of its own."""
    return Path(shutil.copytree(two, tmp_path / "run"))


def learnt(folder: Path) -> dict[str, tuple[int, list[float]]]:
    """The number of every policy on record, and what stands for its adapter and for what one passage was taught."""
    store, found = Store(str(folder)), {}
    for row in Journal(store).read(LearntRow):
        held = [adapters.get(store, AdapterRef(key)) for key in (row.adapter, row.learned) if key]
        found[row.key] = (
            row.version,
            [float(np.abs(up @ down).sum()) for one in held for down, up in map(one.pair, one.modules)],
        )
    return found


def same(one: Path, other: Path) -> None:
    """Both came to the same: what was written, planned, answered and learnt, and what is told of it."""
    assert results(one) == results(other)
    mine, theirs = learnt(one), learnt(other)
    assert mine.keys() == theirs.keys()
    for key, (number, sums) in mine.items():
        assert number == theirs[key][0]
        np.testing.assert_allclose(sums, theirs[key][1], rtol=1e-6)
    told = [by_way(orders(Journal(Store(str(folder))))) for folder in (one, other)]
    for table in told:
        for row in table.values():
            del row["seconds"]
    assert told[0].keys() == told[1].keys() == set(WAYS)
    for way, row in told[0].items():
        assert row["matrix"] == told[1][way]["matrix"]
        assert row["at the end"] == told[1][way]["at the end"]


@pytest.mark.slow
def test_a_stream_that_goes_on_ends_in_what_one_of_all_passages_ends_in(
    begun: Path, at_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, made = adapters.put, []

    def counted(store: Store, adapter: Adapter) -> AdapterRef:
        made.append(adapter.ref)
        return put(store, adapter)

    before = learnt(begun)
    monkeypatch.setattr(adapters, "put", counted)
    run(turns(begun, 3))
    after = learnt(begun)
    assert {key: after[key] for key in before} == before, "what was learnt is as it was"
    assert len(after) - len(before) == len(WAYS)
    assert len(made) <= 2 * len(WAYS), "a lesson and a policy for the new passage: nothing is learnt again"
    same(begun, at_once)
    assert recorded_config(str(begun)).continual.passages == 3, "so that it is resumed with all of them"
    run(recorded_config(str(begun)))
    same(begun, at_once)


@pytest.mark.slow
def test_a_kill_while_it_goes_on_costs_nothing(begun: Path, at_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, calls = adapters.put, 0

    def cut_short(store: Store, adapter: Adapter) -> AdapterRef:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise UserError("stopped here")
        return put(store, adapter)

    monkeypatch.setattr(adapters, "put", cut_short)
    with pytest.raises(UserError, match="stopped here"):
        run(turns(begun, 3))
    by_way(orders(Journal(Store(str(begun)))))  # some orders are longer by then, and none is taken for what it is not
    run(recorded_config(str(begun)))
    same(begun, at_once)


@pytest.mark.slow
def test_drawn_orders_go_on_as_long_as_they_are_drawn_from_the_same_passages(tmp_path: Path) -> None:
    drawn = (*NONE, "--continual.sequences", "2")
    for passages in (2, 3):
        run(turns(tmp_path / "run", passages, *drawn, order="drawn"))
    run(turns(tmp_path / "at once", 3, *drawn, order="drawn"))
    assert results(tmp_path / "run") == results(tmp_path / "at once")
    with pytest.raises(UserError, match=r"begin otherwise where that is more; raise continual\.passages alone"):
        run(turns(tmp_path / "run", 4, *drawn, "--domain.test", "12", order="drawn"))


def test_what_was_retrieved_among_fewer_passages_no_longer_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, arm, methods = tmp_path / "run", Arm("retrieval"), ("--evaluation.methods", '["retrieval"]')

    class Last:
        def __init__(self, passages: Sequence[str]) -> None:
            self._last = len(passages) - 1

        def closest(self, asked: str, most: int) -> list[int]:
            return [self._last]

    monkeypatch.setattr("seal_ray.methods.base.Index", Last)
    run(turns(folder, 1, *NONE, *methods))
    alone = learnt_by(Journal(Store(str(folder))))[arm]
    assert [each.found for each in alone.values()] == [1.0]
    run(turns(folder, 3, *NONE, *methods))
    among = learnt_by(Journal(Store(str(folder))))[arm]
    assert [each.found for each in among.values()] == [0.0, 0.0, 1.0]
    assert [len(each.trials) for each in among.values()] == [1, 1, 1]
    (first,) = alone
    assert among[first].trials[0].key != alone[first].trials[0].key
    store = Store(str(folder))
    drawn = drawn_before(store)
    assert drawn
    of_a_skill = replace(drawn, training=(("train-1-000",),))
    assert not Passages(turns(folder, 3), of_a_skill).refused(store), "no stream depends on what a skill is learnt on"
    assert "training tasks would be others" in Passages(turns(folder, 3, "--run.rounds", "1"), of_a_skill).refused(
        store
    )


class Changed(MicroWorld):
    """Its second held-out passage says something else, its third is gone, or its first two come the other way round."""

    how = ""

    def tasks(self, split: Split, count: int | None, seed: int) -> Sequence[MicroTask]:
        one, other, *more = super().tasks(split, count, seed)
        if split == "test" and self.how == "says":
            other = replace(other, context=other.context + "\nNobody else lives there.")
        if split == "test" and self.how == "gone":
            more = more[1:]
        return [other, one, *more] if split == "test" and self.how == "turned" else [one, other, *more]


@pytest.mark.slow
def test_passages_that_are_others_are_refused_with_the_first_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = (*NONE, "--domain.name", "tests.loop.test_more_passages:Changed")
    run(turns(tmp_path / "run", 3, *own))
    expected = {
        "says": "passage 2 of the 3 that it was begun with, 'test-1-001', says or asks something else",
        "gone": "passage 3 of the 3 that it was begun with was 'test-1-002', and 'test-1-003' comes there",
        "turned": "passage 1 of the 3 that it was begun with was 'test-1-000', and 'test-1-001' comes there",
    }
    before = (tmp_path / "run/config.json").read_bytes()
    for how, said in expected.items():
        monkeypatch.setattr(Changed, "how", how)
        with pytest.raises(UserError, match=said):
            run(turns(tmp_path / "run", 5, *own, "--domain.test", "6"))
    monkeypatch.setattr(Changed, "how", "")
    with pytest.raises(UserError, match=r"another config \(continual\.passages: 3 -> 2"):
        run(turns(tmp_path / "run", 2, *own))
    with pytest.raises(UserError, match=r"another config \(.*trial\.optim\.epochs: 2 -> 11"):
        run(turns(tmp_path / "run", 5, *own, "--trial.optim.epochs", "11"))
    manifest = tmp_path / "run/manifest.json"
    tree = json.loads(manifest.read_text())
    del tree["tasks"]["each"]
    manifest.write_text(json.dumps(tree))
    with pytest.raises(UserError, match="by an older version, which did not write down what its passages say"):
        run(turns(tmp_path / "run", 5, *own))
    assert (tmp_path / "run/config.json").read_bytes() == before


@pytest.mark.slow
def test_a_run_without_one_of_its_lessons_does_not_go_on_with_more(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(turns(folder, 2, *NONE))
    journal = Journal(Store(str(folder)), json.loads((folder / "config.json").read_text())["run"])
    journal.begin()
    journal.record(RetractedRow("gone", 9, 0, "none", (1,)))
    journal.flush()
    with pytest.raises(UserError, match="a lesson was taken out of it"):
        run(turns(folder, 3, *NONE))


def written(file: Path, names: Sequence[str]) -> None:
    lines = (
        {
            "id": name,
            "title": name,
            "context": f"{name} keeps bees.",
            "questions": [{"question": f"What does {name} keep?", "answer": "bees"}],
        }
        for name in names
    )
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.slow
def test_a_file_to_which_passages_were_added_is_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test, folder = tmp_path / "train.jsonl", tmp_path / "test.jsonl", tmp_path / "run"
    written(train, ["Nobody"])
    own = [
        *(
            *NONE,
            "--domain.name",
            "knowledge",
            "--domain.options.train",
            str(train),
            "--domain.options.test",
            str(test),
        ),
        *("--domain.options.shuffle", "false", "--domain.test", "0", "--domain.options.chat", "false"),
    ]
    names = ["Ann", "Bob", "Cy", "Di"]
    written(test, names[:2])
    run(turns(folder, 2, *own))
    written(test, names)
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(CONFIG), *asked(folder, 4, *own), "--dry-run"])
    assert "would go on in" in capsys.readouterr().err
    run(turns(folder, 4, *own))
    assert len(by_way(orders(Journal(Store(str(folder)))))["none"]["matrix"][4]) == 4
    written(test, [names[0], "Eve", *names[2:], "Flo"])
    with pytest.raises(
        UserError, match=r"passage 2 of the 4 that it was begun with was 'bob-.*', and 'eve-.*' comes there"
    ):
        run(turns(folder, 5, *own))
