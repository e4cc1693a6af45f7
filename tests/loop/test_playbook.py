"""A run with a playbook: hints are written, tried, held to self-edits without one, and dropped."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from seal_ray.cli.app import main
from seal_ray.config import Config, Update, load
from seal_ray.domains.registry import load_domain
from seal_ray.events import Events
from seal_ray.looking.again import again
from seal_ray.looking.explained import explain
from seal_ray.looking.explanation import lines
from seal_ray.loop.playbook import Playbook
from seal_ray.loop.preflight import check
from seal_ray.loop.run import run
from seal_ray.loop.strategies import Tried
from seal_ray.loop.workshop import Workshop
from seal_ray.loop.writing import Writer
from seal_ray.observe.progress import Silent
from seal_ray.plan.cluster import Devices
from seal_ray.plan.course import Simulation
from seal_ray.plan.rates import Rates
from seal_ray.record.continual import CONTINUAL
from seal_ray.record.hints import by_hint, print_hints, state
from seal_ray.record.journal import Journal
from seal_ray.record.rows import HintRow, OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.rundir.identity import identify
from seal_ray.rundir.keys import Names
from seal_ray.selection.rules import Candidate
from seal_ray.types import (
    BASE,
    Completion,
    FinetuneSpec,
    Policy,
    SampleRequest,
    SelfEdit,
    UserError,
    content_key,
)
from seal_ray.update.base import Found
from seal_ray.update.sft import Sft
from tests.loop.advised import ASKS, MEANS, REPLIES, Advisers
from tests.runs import CONFIG, Copies, results, rows, small_run

FACTS, COPY, ASK = MEANS
HINT = "reversed facts"
"""Of the micro-world's own."""
WITH = [
    *("--domain.name", "tests.loop.advised:Advised", "--model.dtype", "float32", "--run.rounds", "3"),
    *("--sampling.playbook", "2", "--sampling.hints", json.dumps([COPY]), "--sampling.per_task", "4"),
    *("--domain.train", "6", "--domain.test", "2", "--evaluation.baselines", "[]", "--sampling.max_tokens", "60"),
    *("--update.kl_coef", "0", "--workers.slots", "24"),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rounds in this process; beside it, what was on record after the second."""
    folder = tmp_path_factory.mktemp("playbook") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seal_ray.loop.session.open_cluster", Advisers)
        run(small_run(folder, *WITH), Copies(folder, 2))
    return folder


def in_rounds(folder: Path) -> list[SelfEditRow]:
    return [row for row in rows(folder, SelfEditRow) if row.stage.startswith("round")]


def test_half_of_a_tasks_self_edits_are_written_with_a_hint_and_all_in_force_take_turns(done: Path) -> None:
    found = in_rounds(done)
    assert {row.strategy for row in found if row.index % 2 == 0} == {""}
    of_round = {n: [row.strategy for row in found if row.stage == f"round {n}" and row.index % 2] for n in (1, 2, 3)}
    assert of_round[1] == of_round[2] == [COPY] * 12
    assert sorted(of_round[3]) == sorted([FACTS, ASK] * 6)


def test_a_hint_that_costs_is_dropped_and_the_policy_writes_others_in_its_place(done: Path) -> None:
    known = {(row.text, row.round): row for row in rows(done, HintRow)}
    assert [known[COPY, round_].dropped for round_ in (0, 1, 2)] == [False, False, True]
    assert (COPY, 3) not in known
    assert {text: known[text, 2].since for text in (FACTS, ASK)} == {FACTS: 3, ASK: 3}
    assert all(known[text, 2].tried == 0 < known[text, 3].tried for text in (FACTS, ASK))
    asked = [row for row in rows(done, SelfEditRow) if row.stage.startswith("advice")]
    assert {row.stage for row in asked} == {"advice for round 2", "advice for round 3"}
    assert {row.completion for row in asked} <= set(REPLIES)
    written = {row.completion for row in in_rounds(done)}
    assert all(row.prompt.endswith(ASKS) and row.prompt.split("\n")[0] in str(written) for row in asked)


def test_what_is_known_of_a_hint_is_what_is_on_record_of_its_trials(done: Path) -> None:
    ended = {row.key: row.reward for row in rows(done, OutcomeRow)}
    scored = {
        (row.stage, row.task_id, row.index): ended[row.trial] or 0.0
        for row in rows(done, PlannedRow)
        if row.arm == "self-edits"
    }
    without: dict[tuple[str, str], list[float]] = defaultdict(list)
    gains: dict[str, list[float]] = defaultdict(list)
    for row in in_rounds(done):
        if not row.strategy:
            without[row.stage, row.task_id].append(scored[row.stage, row.task_id, row.index])
    for row in in_rounds(done):
        if row.strategy == COPY:
            gain = scored[row.stage, row.task_id, row.index] - fmean(without[row.stage, row.task_id])
            gains[row.task_id].append(gain)
    (last,) = (row for row in rows(done, HintRow) if (row.text, row.round) == (COPY, 2))
    assert dict(zip(last.tasks, last.gains, strict=True)) == pytest.approx({k: fmean(v) for k, v in gains.items()})
    assert last.tried == sum(map(len, gains.values())) == 24


def test_held_out_self_edits_are_written_with_the_hint_that_paid_best_for_those_who_made_the_policy(done: Path) -> None:
    of_policy: dict[int, set[str]] = defaultdict(set)
    for row in rows(done, SelfEditRow):
        if row.stage == "evaluation":
            of_policy[row.policy].add(row.strategy)
    assert of_policy == {0: {""}, 1: {""}, 2: {""}, 3: {FACTS}}


class InOneRound(Sft):
    """Learns in one round alone."""

    def __init__(self, number: int) -> None:
        self._left = number

    def request(self, found: Found, settings: Update, seed: int) -> FinetuneSpec | None:
        self._left -= 1
        return None if self._left else super().request(found, settings, seed)


@pytest.mark.usefixtures("in_process")
def test_what_is_written_under_a_policy_and_on_top_of_it_knows_all_rounds_that_made_it(tmp_path: Path) -> None:
    """The first round makes none, so that no policy's number is that of its round."""
    rule = ("--update.rule", "tests.loop.test_playbook:InOneRound", "--update.options", '{"number": 2}')
    more = ("--sampling.playbook", "1", "--sampling.hints", HINT, "--sampling.per_task", "2", "--domain.fresh", "true")
    once = ("--domain.train", "3", "--domain.test", "2", "--continual.sequences", "1", "--continual.passages", "2")
    less = ("--evaluation.baselines", "[]", "--update.kl_coef", "0", "--sampling.max_tokens", "60")
    run(small_run(tmp_path / "run", *rule, *more, *once, *less))
    known = {row.round: row for row in rows(tmp_path / "run", HintRow)}
    assert (len(known[1].gains), len(known[2].gains)) == (3, 6), "too few tasks after one round, enough after two"
    assert fmean(known[2].gains) > 0
    written = [row for row in rows(tmp_path / "run", SelfEditRow) if not row.stage.startswith("round")]
    assert {(row.stage, row.policy) for row in written} == {
        ("evaluation", 0),
        ("evaluation", 1),
        (CONTINUAL, 1),
        (CONTINUAL, 2),
    }
    assert {row.strategy for row in written if row.policy} == {HINT}


def test_a_run_that_is_killed_and_continued_asks_and_chooses_the_same(done: Path, tmp_path: Path) -> None:
    """It dies in the midst of the replies for round 3, or just after them."""
    wanted, before = results(done), {row.key: row for row in rows(done, HintRow)}
    shutil.copytree(done.with_name("after round 2"), tmp_path / "run")

    class Dies(Advisers):
        left = 3

        async def sample(self, request: SampleRequest) -> Completion:
            self.left -= 1
            if not self.left:
                raise RuntimeError("the machine is gone")
            return await super().sample(request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seal_ray.loop.session.open_cluster", Dies)
        with pytest.raises(RuntimeError, match="the machine is gone"):
            run(small_run(tmp_path / "run", *WITH), Silent())
        patch.setattr("seal_ray.loop.session.open_cluster", Advisers)
        run(small_run(tmp_path / "run", *WITH), Silent())
    assert results(tmp_path / "run") == wanted
    assert {row.key: row for row in rows(tmp_path / "run", HintRow)} == before
    chosen = {row.key: row.strategy for row in rows(done, SelfEditRow)}
    assert {row.key: row.strategy for row in rows(tmp_path / "run", SelfEditRow)} == chosen


def test_a_trial_is_explained_and_done_again_with_its_hint(done: Path) -> None:
    edit = next(row for row in in_rounds(done) if row.strategy == ASK)
    at = (edit.stage, edit.task_id, edit.index)
    place = next(row for row in rows(done, PlannedRow) if (row.stage, row.task_id, row.index) == at)
    found = explain(str(done), place.trial)
    assert found.is_recorded_recipe
    assert any(line.endswith(f"asked for with the hint: {ASK}") for line in lines(str(done), found))
    assert all(again(str(done), found).same.values())


def test_a_trial_whose_hint_the_domain_no_longer_takes_is_explained_but_for_what_it_trained(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = next(row for row in in_rounds(done) if row.strategy == ASK)
    at = (edit.stage, edit.task_id, edit.index)
    place = next(row for row in rows(done, PlannedRow) if (row.stage, row.task_id, row.index) == at)
    monkeypatch.delitem(MEANS, ASK)
    found = explain(str(done), place.trial)
    said = "\n".join(lines(str(done), found))
    assert f"asked for with the hint: {ASK}" in said
    assert "gold: " in said
    assert f"note: the domain no longer takes the hint that it was written with: {ASK!r} is no hint here" in said
    assert "again: not here: the domain no longer takes the hint" in said
    with pytest.raises(UserError, match="cannot be done again alone: the domain no longer takes the hint"):
        again(str(done), found)


def test_the_playbook_is_shown_by_eval_in_json_and_in_the_report(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(done), "--json"])
    found = json.loads(capsys.readouterr().out)
    table = {row["hint"]: row for row in found["playbook"]}
    assert next(iter(table)) == FACTS
    assert table[FACTS]["low"] < table[FACTS]["gain"] < table[FACTS]["high"]
    assert (table[COPY]["since"], table[COPY]["self-edits"], table[COPY]["tasks"]) == (1, 24, 6)
    assert (table[COPY]["dropped"], table[FACTS]["dropped"]) == ([2], [])
    assert "strategies" not in found
    assert {row["strategy"] for row in found["self-edits"]} == {None}
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(done)])
    said = capsys.readouterr().out
    assert "95 % interval" in said
    assert "points over the same task's self-edits without a hint" in said
    page = render(read_run(str(done)))
    assert "The playbook" in page
    assert "dropped after round 2" in page
    assert all(hint in page for hint in MEANS)


def noted(folder: Path, *hints: HintRow) -> Journal:
    journal = Journal(Store(str(folder)))
    for row in hints:
        journal.append(HintRow.TABLE, row.as_dict())
    journal.flush()
    return Journal(Store(str(folder)))


def test_a_hint_that_several_runs_had_is_one_with_all_their_tasks(tmp_path: Path) -> None:
    one = noted(tmp_path / "1", HintRow("a", "Ask.", 0, 1), HintRow("b", "Ask.", 1, 1, 6, (0.1,) * 6))
    two = noted(tmp_path / "2", HintRow("c", "Ask.", 2, 2, 4, (-0.2,) * 2, dropped=True), HintRow("d", "Sing.", 1, 2))
    asked, sung = by_hint([one, two])
    assert (asked["since"], asked["self-edits"], asked["tasks"], asked["runs"]) == (1, 10, 8, 2)
    assert asked["gain"] == pytest.approx((0.6 - 0.4) / 8)
    assert (state(asked), state(sung)) == ("dropped in 1 of 2 runs", "in force")
    assert "gain" not in sung
    assert state(by_hint([two])[0] | {"dropped": [2]}) == "dropped after round 2"


def test_a_task_that_several_runs_tried_a_hint_on_counts_once(tmp_path: Path) -> None:
    gains, tasks = (0.0, 0.1, 0.2, 0.3), ("a", "b", "c", "d")
    runs = [noted(tmp_path / f"{n}", HintRow("a", "Ask.", 1, 1, 4, gains, tasks=tasks)) for n in range(2)]
    (found,) = by_hint([*runs, noted(tmp_path / "3", HintRow("a", "Ask.", 1, 1, 1, (1.4,), tasks=("e",)))])
    assert (found["tasks"], found["runs"]) == (5, 3)
    assert found["gain"] == pytest.approx(0.4)
    assert "low" not in found, "5 tasks are too few for an interval, however often they were measured"


def test_hints_are_printed_whole_and_in_few_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also a word that is longer than a line, with what a terminal would obey and what `rich` would."""
    word, line = "長" * 60, f"{'Say each fact twice, in words of your own. ' * 4}[red]\x1b[31m"
    row = HintRow("a", word, 12, 12, 148, (-0.12, -0.11) * 6, dropped=True)
    print_hints(by_hint([noted(tmp_path, row, HintRow("b", line, 1, 1))]))
    said = capsys.readouterr().out
    assert said.count("長") == 60
    assert "[red][31m" in said
    assert "\x1b" not in said
    assert re.search(r"-11\.\d – -11\.\d", said)
    assert len(said.splitlines()) < 20


def test_a_hint_that_a_model_wrote_does_nothing_to_the_page(tmp_path: Path, done: Path) -> None:
    shutil.copytree(done, tmp_path / "run")
    journal = noted(tmp_path / "run", HintRow("x", "<script>alert(1)</script> and [bold]\x1b[31m", 3, 3))
    assert any("<script>" in row["hint"] for row in by_hint([journal]))
    page = render(read_run(str(tmp_path / "run")))
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert "\x1b" not in page


def test_a_round_for_which_the_policy_wrote_no_hint_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Mute(Advisers):
        async def sample(self, request: SampleRequest) -> Completion:
            return Completion("Hm.", 1, finished=True, worker="mute")

    config = small_run(tmp_path, *WITH, "--sampling.hints", "[]")
    domain, journal, events = load_domain(config), Journal(Store(str(tmp_path))), Events()
    playbook = Playbook(config, domain, journal, events)
    (task,) = domain.tasks("train", 1, 1)
    poor, good = (Candidate(SelfEdit(task.id, i, 0, "", str(i), i), (float(i),)) for i in range(2))
    playbook.learn([Tried(task, [poor, good], 0.0)])
    writer = Writer(Workshop(config, domain, Mute(config, print), journal, events))
    asyncio.run(playbook.begin(2, Policy("first"), writer))
    assert "round 2 has no hints: none of 1 replies is one" in caplog.text
    assert "too short or too long" in caplog.text


def test_without_a_playbook_everything_is_called_as_before_there_was_one(tmp_path: Path) -> None:
    config = small_run(tmp_path)
    assert (config.sampling.playbook, config.sampling.hints) == (0, ())
    identity = identify(config, load_domain(config))
    new = ("playbook", "hints")
    sampling = {name: value for name, value in identity.settings["sampling"].items() if name not in new}
    before = replace(identity, settings={**identity.settings, "sampling": sampling})
    assert Names.of(before) == Names.of(identity)
    request, names = SampleRequest(BASE, "prompt", 7), Names.of(identity)
    assert names.self_edit(request, names.base) == Names.of(before).self_edit(request, names.base)
    assert content_key(request) == content_key(SampleRequest(BASE, "prompt", 7))


def test_a_playbook_is_part_of_what_a_run_is(done: Path) -> None:
    with_it = small_run(done, *WITH)
    with pytest.raises(UserError, match=r"another config .*sampling.playbook: 2 -> 0"):
        run(replace(with_it, sampling=replace(with_it.sampling, playbook=0, hints=())), Silent())


def wrong(*more: str, job: str = "microworld.toml") -> Config:
    return load(CONFIG.parent / job, more)


REFUSED = {
    "no hints of its own": (["--sampling.playbook", "2"], "writes no hints; give some in sampling.hints"),
    "a hint that the domain cannot give": (
        ["--sampling.playbook", "1", "--sampling.hints", "Be brief."],
        "sampling.hints: 'Be brief.' is no hint that the micro-world's base takes; it takes copy, facts",
    ),
    "two lines": (["--sampling.playbook", "1", "--sampling.hints", "a\nb"], "no single line of 200 characters"),
    "a long line": (["--sampling.playbook", "1", "--sampling.hints", "a" * 300], "no single line of 200 characters"),
    "blanks around it": (["--sampling.playbook", "1", "--sampling.hints", "Be brief. "], "none around them"),
    "a hint twice": (
        ["--sampling.playbook", "2", "--sampling.hints", '["reversed facts", "facts, reversed"]'],
        "says what 'reversed facts' does",
    ),
    "nothing is tried": (
        ["--sampling.playbook", "1", "--sampling.hints", "copy", "--selection.rule", "usable"],
        "selection.rule 'usable' with update.rule 'sft' tries none",
    ),
    "only the promising are tried": (
        ["--sampling.playbook", "1", "--sampling.hints", "copy", "--selection.foresee", "0.01"],
        "selection.foresee tries the promising ones of each alone",
    ),
    "more hints than room": (["--sampling.hints", '["copy", "facts"]'], "playbook = 0 has no room for 2 hints"),
    "one more than room": (["--sampling.hints", "copy"], "playbook = 0 has no room for 1 hint;"),
    "strategies too": (["--sampling.playbook", "1", "--sampling.strategies", "copy"], "leave one of them out"),
    "one self-edit a task": (["--sampling.playbook", "1", "--sampling.per_task", "1"], "set per_task = 2 or more"),
    "all texts at once": (["--sampling.playbook", "1", "--evaluation.joint", "true"], "set sampling.playbook = 0"),
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda name: name.replace(" ", "-"))
def test_a_playbook_that_cannot_be_is_refused_in_one_line(case: str) -> None:
    more, said = REFUSED[case]
    with pytest.raises(UserError) as refused:
        check(wrong(*more))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_one_round_alone_needs_hints_that_are_given(tmp_path: Path) -> None:
    one = ["--domain.name", "tests.loop.advised:Advised", "--run.rounds", "1", "--sampling.playbook", "2"]
    with pytest.raises(UserError, match="the first hints are written after round 1, and there is no other"):
        check(small_run(tmp_path, *one))
    check(small_run(tmp_path, *one, "--sampling.hints", COPY))


def test_a_domain_that_takes_no_hints_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="the domain 'arcworld' takes no hints for its self-edits"):
        check(wrong("--sampling.playbook", "2", job="arc_small.toml"))


def test_a_run_with_a_playbook_is_planned(tmp_path: Path) -> None:
    course = Simulation(small_run(tmp_path, *WITH)).course(Rates(*[1e-3] * 10), Devices(1, 1), "transformers")
    planned = {(stage.name, stage.pieces) for stage in course.stages}
    assert {("round 1: trials", 24), ("round 3: trials", 24)} <= planned
