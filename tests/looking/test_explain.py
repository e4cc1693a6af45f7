"""`seal-ray explain`: what is on record of one trial, beside what its sources say, and the trial done again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.config import load
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.looking.again import again
from seal_ray.looking.explained import Explained, explain
from seal_ray.looking.explanation import lines, rows, table
from seal_ray.looking.seen import look
from seal_ray.loop.oracle import oracle
from seal_ray.loop.run import run
from seal_ray.record.journal import Journal
from seal_ray.record.rows import KeptRow, OutcomeRow, PlannedRow
from seal_ray.record.storage import Store
from seal_ray.types import DataError, UserError
from tests.report.build import FakeRun
from tests.runs import CONFIG, results, small_run

pytestmark = pytest.mark.slow


def planned(folder: Path, wanted: Callable[[PlannedRow], bool]) -> PlannedRow:
    return next(row for row in Journal(Store(str(folder))).read(PlannedRow) if wanted(row))


def explained(folder: Path, wanted: Callable[[PlannedRow], bool]) -> Explained:
    return explain(str(folder), planned(folder, wanted).trial)


def of_policy(number: int, stage: str) -> Callable[[PlannedRow], bool]:
    return lambda row: (row.policy, row.stage) == (number, stage)


def test_a_trial_of_a_round_is_told_with_all_that_it_was(small: Path) -> None:
    journal = Journal(Store(str(small)))
    kept = next(iter(journal.read(KeptRow)))
    found = explained(small, lambda row: (row.stage, row.task_id, row.index) == (kept.stage, kept.task_id, kept.index))
    outcome = next(row for row in journal.read(OutcomeRow) if row.key == found.key)
    said = "\n".join(lines("runs/x", found))
    assert found.task
    assert f"task: {found.task.title} ({kept.task_id})" in said
    assert f"wanted by: round 1, self-edits, self-edit {kept.index}, seed 0, under the untrained policy" in said
    assert "selection: kept for the update of round 1" in said
    assert found.edit
    assert found.edit.key == kept.self_edit
    assert all(line.strip() in said for line in found.edit.completion.splitlines())
    assert f"{len(found.recipe.examples) if found.recipe else 0} texts, 10 steps; LoRA of rank 16, alpha 16.0" in said
    assert "lr 0.02, epochs 10, batch_size 64, schedule linear" in said
    assert found.is_recorded_recipe
    assert found.before
    assert f"reward: {outcome.reward:.3f}".rstrip("0") in said
    assert "before (screening, asked alone, policy 0)" in said
    assert f"s of {outcome.worker}, 10 steps on {outcome.tokens} tokens" in said
    for question, answer, verdict in zip(found.task.questions, outcome.answers, outcome.verdicts, strict=True):
        assert f"  {question.prompt}\n  gold:   {question.answer}\n  before: " in said
        assert f"  after:  {' '.join(answer.split())}  [{verdict:g}]" in said
    assert said.endswith(f"again: seal-ray explain runs/x {found.key} --again")


def test_what_was_answered_before_an_evaluation_is_said_to_be_the_bases(small: Path) -> None:
    found = explained(small, of_policy(2, "evaluation"))
    assert found.before_by == "evaluation, base, policy 0"
    assert not found.kept
    assert "selection:" not in "\n".join(lines("x", found))


SORTS: dict[str, Callable[[PlannedRow], bool]] = {
    "a self-edit of the first round": of_policy(0, "round 1"),
    "a self-edit on top of a policy": of_policy(1, "round 2"),
    "a measurement of the last policy": of_policy(2, "evaluation"),
    "a task asked alone under a policy": of_policy(1, "screening"),
    "a baseline that trains": lambda row: row.arm == "passage only",
    "a baseline that does not": lambda row: row.arm == "base",
}


@pytest.mark.parametrize("sort", SORTS)
def test_a_trial_done_again_alone_comes_out_the_same_and_leaves_the_run_as_it_is(small: Path, sort: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    found = again(str(small), explained(small, SORTS[sort]))
    assert found.now.key == found.then.key
    assert set(found.same.values()) == {True}
    assert found.lines()[1] == "answers again: the same"
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_a_trial_is_not_done_again_on_a_base_that_is_another_by_now(small: Path, tmp_path: Path) -> None:
    config = shutil.copytree(small, tmp_path / "run") / "config.json"
    tree = json.loads(config.read_text())
    tree["identity"]["contents"]["model.path: model.safetensors"] = "what it was then"
    config.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"another base \(model.path: model.safetensors: the content has changed"):
        again(str(config.parent), explained(config.parent, SORTS["a baseline that trains"]))


@pytest.mark.usefixtures("in_process")
def test_a_seed_of_a_self_edit_is_done_again_as_that_seed(tmp_path: Path) -> None:
    few = ("--run.rounds", "0", "--evaluation.seeds", "2", "--domain.test", "1", "--evaluation.baselines", "[]")
    run(small_run(tmp_path / "run", *few))
    found = explained(tmp_path / "run", lambda row: row.replicate == 1)
    assert set(again(str(tmp_path / "run"), found).same.values()) == {True}


def test_answers_that_came_out_otherwise_are_counted(small: Path) -> None:
    found = explained(small, of_policy(1, "screening"))
    assert found.outcome
    vars(found.outcome)["answers"] = ("something else", *found.outcome.answers[1:])
    result = again(str(small), found)
    assert result.same["answers"] is False
    assert f"answers again: 1 of {len(found.outcome.answers)} came out otherwise" in result.lines()


@pytest.mark.usefixtures("in_process")
def test_a_self_edit_that_could_not_be_used_is_told_and_fails_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: MicroWorld, task: object, completion: str, seed: int) -> None:
        raise DataError("nothing \x1b[31mred")

    monkeypatch.setattr(MicroWorld, "recipe", refuse)
    run(small_run(tmp_path / "run", "--run.rounds", "0", "--domain.test", "1", "--evaluation.baselines", "[]"))
    found = explained(tmp_path / "run", lambda row: row.stage == "evaluation")
    said = lines("x", found)
    assert "failure: data: nothing [31mred" in said
    assert "note: no recipe: nothing [31mred" in said
    assert set(again(str(tmp_path / "run"), found).same.values()) == {True}


def test_a_baseline_that_the_domain_has_no_more_is_not_done_again_even_where_it_failed(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MicroWorld, "baseline", lambda *_: None)
    found = explained(small, SORTS["a baseline that trains"])
    assert found.outcome
    failed = replace(found, outcome=replace(found.outcome, failure="data"))
    for each in (found, failed):
        with pytest.raises(UserError, match="cannot be done again alone: the domain has no baseline 'passage only'"):
            again(str(small), each)


@pytest.mark.usefixtures("in_process")
def test_a_decision_that_a_search_tried_is_told_and_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    few = ("--domain.name", "tests.loop.test_oracle:FewDecisions", "--domain.test", "2", "--run.rounds", "0")
    run(load(CONFIG.parent / "arc_small.toml", ["--run.dir", str(folder), *few]))
    oracle(str(folder))
    found = explained(folder, lambda row: row.stage == "oracle" and bool(row.recipe))
    assert found.text == found.place.arm
    assert found.is_recorded_recipe
    assert set(again(str(folder), found).same.values()) == {True}


def test_of_a_run_whose_sources_are_gone_the_record_is_told(tmp_path: Path) -> None:
    fake = FakeRun(str(tmp_path / "run"))
    fake.write_config()
    fake.explore(1, 0.5, texts={0: "a note\x1b]0;title\x07 that a terminal\r\nwould obey\u202e"})
    fake.journal.flush()
    found = explained(tmp_path / "run", lambda row: row.index == 0)
    said = "\n".join(lines("x", found))
    assert "train-000: no such task is drawn from what the config names here" in said
    assert "a note]0;title that a terminal" in said
    assert not set("\x1b\x07\r\u202e") & set(said)
    assert "after:  Velm" in said
    with pytest.raises(UserError, match="cannot be done again alone: train-000: no such task"):
        again(str(tmp_path / "run"), found)


def test_the_beginning_of_a_key_is_enough_and_one_that_several_have_lists_them(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = sorted(results(small)["rewards"])
    with pytest.raises(SystemExit, match="0"):
        main(["explain", str(small), keys[0][:12], "--json"])
    assert json.loads(capsys.readouterr().out)["key"] == keys[0]
    with pytest.raises(SystemExit, match="0"):
        main(["explain", str(small)])
    assert len(capsys.readouterr().out.splitlines()) == len(keys) + 1
    with pytest.raises(SystemExit, match="0"):
        main(["explain", str(small), "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert {row["trial"]: row["reward"] for row in rows} == {
        key: reward for key, (reward, _) in results(small)["rewards"].items()
    }
    with pytest.raises(SystemExit, match="2"):
        main(["explain", str(small), "--again"])
    assert "--again does one trial again" in capsys.readouterr().err
    shared = next(key[0] for key in keys if sum(other[0] == key[0] for other in keys) > 1)
    with pytest.raises(SystemExit, match="2"):
        main(["explain", str(small), shared])
    shown = capsys.readouterr()
    listed = [line.split()[0] for line in shown.out.splitlines()[1:]]
    assert sorted(listed) == [key for key in keys if key.startswith(shared)]
    assert f"begin with '{shared}'; give more of one" in shown.err
    with pytest.raises(SystemExit, match="2"):
        main(["explain", str(small), "zzz"])
    assert "no trial's key begins with 'zzz'" in capsys.readouterr().err


def test_on_a_terminal_keys_are_as_long_as_tells_them_apart_and_find_their_trial(small: Path) -> None:
    keys, seen = sorted(results(small)["rewards"]), look(Store(str(small)))
    told = rows(seen.trials(), seen.outcomes)
    narrow, whole = table(told, 80), table(told)
    assert max(map(len, narrow)) <= 80 < max(map(len, whole))
    assert narrow[0].split() == ["trial", "stage", "arm", "task_id", "reward"], "no failure, so no column of them"
    assert narrow[-1] == "no room here for: index, replicate"
    assert sorted(line.split()[0] for line in narrow[1:-1]) == [key[:8] for key in keys]
    alike = [told[0] | {"trial": f"{'0' * 10}{last}"} for last in "ab"]
    assert [line.split()[0] for line in table(alike, 80)[1:3]] == ["0000000000a", "0000000000b"]


def test_the_command_that_is_named_does_the_trial_again(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = explained(small, of_policy(1, "screening"))
    _, *arguments = lines(str(small), found)[-1].removeprefix("again: ").split()
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    assert capsys.readouterr().out.splitlines()[-1] == "answers again: the same"


def test_a_trial_that_has_not_ended_is_told_as_such(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    journal = Journal(Store(str(folder)))
    row = planned(folder, of_policy(0, "round 1"))
    vars(row).update(key="another", trial="another", replicate=1)
    journal.record(row)
    journal.flush()
    found = explain(str(folder), "another")
    assert "outcome: it has not ended" in lines("x", found)
    with pytest.raises(UserError, match="it has not ended"):
        again(str(folder), found)


def test_whoever_reads_only_the_first_lines_ends_no_command_with_a_traceback(small: Path) -> None:
    lister = [sys.executable, "-m", "seal_ray", "explain", str(small)]
    reading, writing = os.pipe()
    os.close(reading)
    shown = subprocess.run(lister, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (shown.returncode, shown.stderr) == (0, "")
