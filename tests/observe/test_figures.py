"""Figures are a function of what is on record, whatever the moments at which it came there."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seal_ray.observe.figures import Figure, Figures
from seal_ray.record.rows import OutcomeRow, PlannedRow, PolicyRow, SelfEditRow, SkillRow, SpanRow
from seal_ray.types import content_key

Tables = dict[str, list[dict[str, Any]]]
RECORD = (PlannedRow, SkillRow, OutcomeRow, SelfEditRow, PolicyRow, SpanRow)


def planned(stage: str, arm: str, task: str, trial: str, policy: int = 0) -> dict[str, Any]:
    return PlannedRow.at(stage, arm, task, 0, 0, trial, policy=policy).as_dict()


def outcome(trial: str, reward: float, failure: str | None = None) -> dict[str, Any]:
    return OutcomeRow(trial, reward=reward, failure=failure, tokens=3).as_dict()


def told(*batches: Tables) -> list[Figure]:
    figures = Figures()
    return [each for batch in batches for each in figures.of(batch)]


def curve(figures: list[Figure], name: str) -> list[tuple[int, float]]:
    return [(step, value) for found, step, value in figures if found == name]


def test_a_mean_is_over_the_trials_as_they_were_planned_and_waits_for_each() -> None:
    figures = Figures()
    assert not figures.of({"planned": [planned("round 1", "self-edits", task, task) for task in "abc"]})
    assert curve(figures.of({"outcomes": [outcome("b", 1.0)]}), "reward/round 1") == []
    assert curve(figures.of({"outcomes": [outcome("a", 0.0)]}), "reward/round 1") == [(1, 0.0), (2, 0.5)]
    assert curve(figures.of({"outcomes": [outcome("c", 1.0)]}), "reward/round 1") == [(3, 2 / 3)]


def test_a_trial_that_two_places_want_counts_in_both_also_where_the_second_wants_it_later() -> None:
    figures = Figures()
    figures.of({"planned": [planned("screening", "asked alone", "t", "a")], "outcomes": [outcome("a", 0.5)]})
    later = figures.of({"planned": [planned("evaluation", "base", "t", "a")]})
    assert later == [Figure("reward/evaluation/base", 1, 0.5)]


def test_a_run_that_ended_waits_no_more_for_a_trial_that_was_never_done() -> None:
    figures = Figures()
    figures.of({"planned": [planned("round 1", "", task, task) for task in "ab"], "outcomes": [outcome("b", 1.0)]})
    assert figures.ended() == [Figure("reward/round 1", 1, 1.0)]


def test_accuracy_is_told_once_a_version_is_measured_and_counts_every_task_alike() -> None:
    rows = [planned("evaluation", "after round 2", task, trial, 2) for task, trial in ("ta", "tb", "uc")]
    figures = Figures()
    figures.of({"planned": rows, "outcomes": [outcome("a", 1.0), outcome("b", 1.0), outcome("c", 0.0)]})
    assert figures.measured(1) == []
    assert figures.measured(2) == [Figure("held-out accuracy/self-edits", 2, 0.5)]
    assert figures.measured(2) == figures.ended() == []


def test_where_every_trial_failed_no_accuracy_is_told() -> None:
    figures = Figures()
    found = figures.of(
        {"planned": [planned("evaluation", "base", "t", "a")], "outcomes": [outcome("a", 0.0, "infrastructure")]}
    )
    assert Figure("failures/infrastructure", 1, 1) in found
    assert figures.measured(0) == []


def test_names_are_such_as_every_tracker_takes() -> None:
    rows = {"planned": [planned("evaluation", "learnt, <b>/..", "t", "a")], "outcomes": [outcome("a", 1.0)]}
    assert {each.name for each in told(rows)} == {"reward/evaluation/learnt b", "tokens/trained"}


def test_trials_a_second_are_those_of_the_time_in_which_any_was_on() -> None:
    spans = [SpanRow.of("trial", "w", *span).as_dict() for span in ((0, 2), (1, 3), (7, 8))]
    spans.insert(1, SpanRow.of("sample", "w", 2, 6).as_dict())
    assert curve(told({"spans": spans}), "trials per second") == [(1, 1 / 2), (2, 2 / 3), (3, 3 / 4)]


def test_a_curve_over_many_trials_has_few_points_and_its_last_one_at_the_end() -> None:
    figures, trials = Figures(), [str(number) for number in range(10_001)]
    found = figures.of(
        {
            "planned": [planned("round 1", "self-edits", trial, trial) for trial in trials],
            "outcomes": [outcome(trial, 1.0) for trial in trials],
        }
    )
    steps = [step for step, _ in curve(found, "reward/round 1")]
    assert steps[:34] == [*range(1, 33), 34, 36]
    assert len(steps) < 170
    assert max(after / before for before, after in itertools.pairwise(steps[15:])) <= 1 + 1 / 16
    assert steps[-1] < len(trials)
    assert curve(figures.ended(), "reward/round 1") == [(len(trials), 1.0)]


def test_every_kind_of_failure_has_a_curve_however_rare_it_is() -> None:
    rows = [outcome(str(number), 0.0, "data" if number == 998 else None) for number in range(1000)]
    assert curve(told({"outcomes": rows}), "failures/data") == [(999, 1)]


def test_the_answers_of_a_skill_are_no_trials_and_nothing_is_trained_on_them() -> None:
    asked = planned("methods", "past", "t", "a")
    rows = {
        "planned": [asked],
        "skills": [SkillRow("read", passages=2, trained=40).as_dict()],
        "outcomes": [outcome("sampled", 1.0), outcome("a", 0.5), outcome("sampled too", 0.0, "data")],
    }
    found = told(rows)
    assert curve(found, "tokens/trained") == [(1, 3)]
    assert curve(found, "reward/methods") == [(1, 0.5)]
    assert curve(found, "failures/data") == []


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a run as they came: a trial is planned in one or two places, before its outcome or after it."""
    rows: list[tuple[str, dict[str, Any]]] = []
    for number in range(draw(st.integers(1, 12))):
        trial, task = f"trial {number}", f"task {number % 3}"
        places = draw(st.lists(st.sampled_from(["round 1", "round 2", "evaluation"]), min_size=1, unique=True))
        done = outcome(trial, draw(st.sampled_from([0.0, 0.5, 1.0])), draw(st.sampled_from([None, "data"])))
        mine = [("planned", planned(place, "base", task, trial)) for place in places]
        mine.insert(draw(st.integers(1, len(mine))), ("outcomes", done))
        start = draw(st.integers(0, len(rows)))
        for each in mine:  # in their order, with those of other trials between them
            start = draw(st.integers(start, len(rows)))
            rows.insert(start, each)
            start += 1
    if draw(st.booleans()):  # passages of a skill are read before it answers
        rows.append(("skills", SkillRow("read", passages=1).as_dict()))
        rows += [("outcomes", outcome(f"sampled {number}", 1.0)) for number in range(draw(st.integers(1, 3)))]
    losses = PolicyRow(content_key("policy"), version=1, rank=2, kept=3, losses=(2.0, 1.0)).as_dict()
    return [*rows, ("policies", losses), *draw(st.lists(st.sampled_from(rows), max_size=3))]  # some come twice


@settings(max_examples=200, deadline=None)
@given(histories(), st.data())
def test_however_rows_come_the_figures_are_those_of_all_rows_at_once(
    rows: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    cuts = sorted({0, len(rows), *data.draw(st.lists(st.integers(0, len(rows))))})
    batches = [tables(rows[start:end]) for start, end in itertools.pairwise(cuts)]
    whole = told(tables(rows))
    assert sorted(told(*batches)) == sorted(whole)
    assert set(Counter((each.name, each.step) for each in whole).values()) == {1}


def tables(rows: list[tuple[str, dict[str, Any]]]) -> Tables:
    found: Tables = {kind.TABLE: [] for kind in RECORD}
    for table, row in rows:
        found[table].append(row)
    return found
