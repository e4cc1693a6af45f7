"""The adapters that a run holds, by names that a person can type."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.cli.models import refuse_taken
from seal_ray.looking.held import Shelf, Told, ancestry, table
from seal_ray.ops import export
from seal_ray.policy.catalogue import catalogue, find
from seal_ray.policy.lineage import head_of, keeps_apart, lineage
from seal_ray.policy.repair import repair_policies
from seal_ray.record.continual import orders
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow, PolicyRow, RetractedRow, Row
from seal_ray.record.storage import Store
from seal_ray.types import UserError
from tests.runs import small_run


def written(folder: Path, *rows: Row) -> Journal:
    journal = Journal(Store(str(folder)))
    for row in rows:
        journal.on(row)
    journal.flush()
    return journal


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: str = "0") -> tuple[list[str], str]:
    with pytest.raises(SystemExit, match=code):
        main(["adapters", *arguments])
    shown = capsys.readouterr()
    return shown.out.splitlines(), shown.err


@pytest.mark.slow
def test_every_adapter_is_listed_with_what_it_is_and_what_it_changed(whole: Path) -> None:
    told = {each.held.name: each for each in Shelf(str(whole)).told()}
    lessons = [f"{way}/0/lesson-{step}" for way in ("library", "kl") for step in range(1, 9)]
    policies = [f"kl/0/after-{step}" for step in range(1, 9)]
    assert told.keys() == {*lessons, *policies, "joint/0/lesson-8", "joint/0/after-8"}
    order = next(order for order in orders(Journal(Store(str(whole)))) if order.way == "kl")
    third = told["kl/0/lesson-3"]
    assert third.what.startswith("lesson 3: ")
    assert not third.what.endswith(third.held.row.key)
    assert (third.before, third.after) == (order.asked[0][2].accuracy, order.just(2).accuracy)
    assert told["kl/0/after-8"].after == pytest.approx(order.figures()["at the end"])
    assert told["kl/0/after-3"].after is None, "not all were asked then"
    assert (third.layers, third.held.parents) == ("2", ("kl/0/after-2",))
    assert third.shape
    assert third.shape.rank == 16
    assert "q_proj" in third.targets
    library = told["library/0/lesson-3"]
    assert (library.layers, library.held.parents) == ("0-2", ("base",))


@pytest.mark.slow
def test_bytes_are_those_on_disk_however_many_names_an_adapter_has(whole: Path) -> None:
    shelf = Shelf(str(whole))
    files = (whole / "adapters").rglob("*")
    assert shelf.bytes() == sum(file.stat().st_size for file in files if file.is_file())


@pytest.mark.slow
def test_one_is_shown_down_to_the_base_with_the_text_it_was_trained_on(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, _ = said(capsys, "show", str(whole), "kl/0/lesson-3")
    assert lines[1:4] == [
        "from: kl/0/lesson-3, on kl/0/after-2",
        "from: kl/0/after-2, on kl/0/after-1 + kl/0/lesson-2",
        "from: kl/0/after-1, on base + kl/0/lesson-1",
    ]
    assert "from: base" in lines
    (tree,) = said(capsys, "show", str(whole), "kl/0/lesson-3", "--json")[0]
    (text,) = json.loads(tree)["texts"]
    assert text["self_edit"].splitlines()[0] in "\n".join(lines)
    assert text["title"] in lines[0]


@pytest.mark.slow
def test_the_list_is_for_people_and_for_programs(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, _ = said(capsys, "list", str(whole))
    (tree,) = said(capsys, "list", str(whole), "--json")[0]
    found = json.loads(tree)
    assert len(lines) == len(found["adapters"]) + 2
    assert lines[-1].startswith(f"{len(found['adapters'])} adapters, ")
    assert found["bytes"] > sum(each["bytes"] for each in found["adapters"]) / 4
    assert [line.split()[0] for line in lines[1:-1]] == [each["name"] for each in found["adapters"]]
    narrow = table(Shelf(str(whole)).told(), 0, 80)
    assert max(map(len, narrow)) <= 80 < max(map(len, lines))
    assert {"before", "after", "size"} <= set(narrow[0].split())


@pytest.mark.slow
def test_one_that_is_damaged_leaves_all_others_as_they_are(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {each.held.name: each for each in Shelf(str(mine)).told()}
    (mine / before["library/0/lesson-2"].held.folder / "adapter_model.safetensors").write_bytes(b"x")
    shutil.rmtree(mine / before["library/0/lesson-3"].held.folder)
    lines, beside = said(capsys, "list", str(mine))
    assert len(lines) == len(before) + 2
    (second,) = [line for line in lines if line.startswith("library/0/lesson-2")]
    assert "damaged: lesson 2: " in second
    assert beside.count(f"`seal-ray repair {mine}`") == 2
    (tree,) = said(capsys, "list", str(mine), "--json")[0]
    found = {each["name"]: each for each in json.loads(tree)["adapters"]}
    assert {name for name, each in found.items() if each["damage"]} == {"library/0/lesson-2", "library/0/lesson-3"}
    assert found["library/0/lesson-2"]["rank"] is None
    said(capsys, "show", str(mine), "library/0/lesson-4")
    said(capsys, "merge", str(mine), "library/0/lesson-1", "library/0/lesson-4", "--into", str(tmp_path / "sum"))
    said(capsys, "export", str(mine), "library/0/lesson-4", "--into", str(tmp_path / "fourth"))
    for command in ("show", "export"):
        into = ["--into", str(tmp_path / "second")] if command == "export" else []
        _, beside = said(capsys, command, str(mine), "library/0/lesson-2", *into, code="[12]")
        assert "is damaged (" in beside
        assert "/tmp" not in beside.replace(str(mine), "")


def test_a_directory_without_adapters_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from seal_ray.domains.registry import load_domain
    from seal_ray.rundir.directory import claimed
    from seal_ray.rundir.identity import identify

    config = small_run(tmp_path / "run")
    with claimed(Store(config.dir), config, identify(config, load_domain(config))):
        pass
    lines, beside = said(capsys, "list", config.dir)
    assert (lines, beside) == ([], f"{config.dir}: no adapter is here yet\n")
    _, beside = said(capsys, "list", str(tmp_path / "nowhere"), code="2")
    assert "no run is here" in beside


ROUNDS = [PolicyRow("p1", 1, 0, rank=4, adapter="a1"), PolicyRow("p2", 2, 1, rank=4, adapter="a2")]


def test_policies_of_rounds_stand_on_each_other_and_versions_of_documents_on_the_base(tmp_path: Path) -> None:
    journal = written(tmp_path, *ROUNDS)
    assert [each.parents for each in catalogue(journal)] == [("base",), ("main/1",)]
    assert [each.parents for each in catalogue(journal, afresh=True)] == [("base",), ("base",)]


def test_a_policy_that_a_passage_left_as_it_was_is_not_named_again(tmp_path: Path) -> None:
    journal = written(
        tmp_path,
        *ROUNDS,
        LearntRow("1", "t1", 3, 0, 1, 4, "a2", "library", learned="l1"),
        LearntRow("2", "t1", 4, 0, 1, 8, "g1", "gated", learned="l1"),
        LearntRow("3", "t2", 5, 0, 2, 8, "g1", "gated", learned="l2"),
    )
    held = catalogue(journal)
    names = ["library/0/lesson-1", "gated/0/lesson-1", "gated/0/after-1", "gated/0/lesson-2"]
    assert [each.name for each in held[2:]] == names
    assert held[-1].parents == ("gated/0/after-1",)
    assert ancestry(held, held[2]) == ["library/0/lesson-1, on main/2", "main/2, on main/1", "main/1, on base", "base"]


def test_the_beginning_of_a_name_is_enough_and_a_whole_name_is_no_beginning_of_another(tmp_path: Path) -> None:
    rows = [LearntRow(str(n), f"t{n}", n, 0, n, learned=f"l{n}", way="library") for n in (1, 2, 10)]
    held = catalogue(written(tmp_path, *rows))
    assert find("x", held, "library/0/lesson-1").name == "library/0/lesson-1"
    assert find("x", held, "library/0/lesson-2").name == "library/0/lesson-2"
    assert find("x", held, "library/0/lesson-10").row.step == 10
    with pytest.raises(UserError, match="x: 3 adapters' names begin with 'lib', such as library/0/lesson-1; give more"):
        find("x", held, "lib")
    with pytest.raises(UserError, match="x: no adapter's name begins with 'merge'"):
        find("x", held, "merge")


def test_only_a_library_keeps_its_lessons_apart_and_a_gate_that_let_nothing_in_is_still_the_base(
    tmp_path: Path,
) -> None:
    assert keeps_apart("library")
    assert not any(map(keeps_apart, ("gated", "merge", "joint", "ema", "none", "examples.own_way:Half")))
    journal = written(tmp_path, LearntRow("g", "task", 1, 0, 1, way="gated", learned="own"))
    assert head_of(lineage(journal)["sequence 0 by gated"][-1]) == "sequence 0 by gated"
    with pytest.raises(UserError, match="'sequence 0 by gated': nothing could be learnt there"):
        export.chosen_policy(str(tmp_path), "sequence 0 by gated")


def test_what_is_left_without_a_lesson_is_a_head_of_its_own(tmp_path: Path) -> None:
    rows = [LearntRow("m", "task", 1, 0, 1, 4, "whole"), RetractedRow("r", 2, 0, out=(1, 3), rank=4, adapter="left")]
    journal = written(tmp_path, *rows)
    assert lineage(journal) == {"sequence 0": [rows[0]], "sequence 0 without 1, 3": rows}
    assert [each.name for each in catalogue(journal)] == ["merge/0/after-1", "merge/0/without-1-3"]
    assert export.chosen_policy(str(tmp_path), "sequence 0 without 1, 3") == rows[1]
    assert export.chosen_policy(str(tmp_path), "sequence 0 by merge without 1, 3") == rows[1]
    assert export.chosen_policy(str(tmp_path), "sequence 0 by merge") == rows[0]


def test_the_card_of_a_lesson_a_sequence_and_one_without_passages_says_how_each_was_made(tmp_path: Path) -> None:
    from seal_ray.ops.card import _made

    learnt = LearntRow("m", "task", 1, 0, 3, 4, "whole", "kl", learned="own")
    without = RetractedRow("r", 2, 0, "kl", (1, 3), 4, "left")
    config = small_run(tmp_path / "run")

    def said(row: LearntRow | RetractedRow, alone: bool = False) -> str:
        return "\n".join(_made(config, row, False, alone))

    assert "this alone was trained in the way `kl` when passage 3 of an order arrived." in said(learnt, alone=True)
    assert said(learnt).endswith("each by what the model wrote of it; this is the policy after 3 passages.")
    assert said(without).endswith("then what passages 1, 3 had taught was taken out again.")
    assert not any("in each round" in text for text in (said(learnt), said(without), said(learnt, alone=True)))


def test_a_run_is_not_written_over_even_when_told_to(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    refuse_taken(str(tmp_path), force=True)  # a model's folder has such a file too
    (tmp_path / "journal").mkdir()
    with pytest.raises(UserError, match="is a run's own directory; name another place"):
        refuse_taken(str(tmp_path), force=True)


def test_an_adapter_that_two_policies_share_is_set_aside_once_and_both_are_named(tmp_path: Path) -> None:
    rows = [LearntRow(str(n), f"t{n}", n, 0, n, 4, "same", "gated", learned="own") for n in (1, 7)]
    written(tmp_path, *rows)
    said = repair_policies(Store(str(tmp_path)))
    assert [line.partition(":")[0] for line in said] == ["policies 1, 7"] * 2, "one for each folder"
    assert not list(Journal(Store(str(tmp_path))).read(LearntRow))


def test_layers_are_said_as_spans(tmp_path: Path) -> None:
    from seal_ray.policy.adapters import Shape

    held = catalogue(written(tmp_path, *ROUNDS))[0]
    modules = tuple(f"model.layers.{n}.self_attn.q_proj" for n in (0, 1, 2, 5, 7, 8))
    assert Told(held, "", Shape(1, 1.0, modules, 0), None, None).layers == "0-2,5,7-8"
    assert Told(held, "", Shape(1, 1.0, ("lm_head",), 0), None, None).layers == "–"
