"""`seal-ray compare`: what differs between runs, and by how much, each task held to itself."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

from seal_ray.cli.app import main
from seal_ray.looking.comparing import LAST, compare
from seal_ray.looking.comparison import lines
from seal_ray.policy.lineage import sequence_head
from seal_ray.record.continual import CONTINUAL, arm_of
from seal_ray.record.differences import difference
from seal_ray.record.journal import Journal
from seal_ray.record.methods import METHODS, Arm
from seal_ray.record.rows import OutcomeRow, PlannedRow, StudyRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import Measured, summarize
from seal_ray.types import UserError
from tests.report.build import FakeRun, control, finished

OLD_RUN = str(Path(__file__).parents[1] / "data" / "run-0.1.0")


def of_tasks(**rewards: float) -> Measured:
    found = Measured()
    for task, reward in rewards.items():
        found.rewards[task].append(reward)
    return found


def recorded_reward(folder: Path, arm: str, task: str) -> float:
    journal = Journal(Store(str(folder)))
    outcomes = {row.key: row.reward or 0.0 for row in journal.read(OutcomeRow)}
    return fmean(outcomes[row.trial] for row in journal.read(PlannedRow) if (row.arm, row.task_id) == (arm, task))


def test_a_difference_is_that_of_each_task_to_itself() -> None:
    first = of_tasks(a=0.1, b=0.9, c=0.2, d=0.8, e=0.3, f=0.7, only_here=0.0)
    one = of_tasks(a=0.2, b=1.0, c=0.3, d=0.9, e=0.4, f=0.8, only_there=1.0)
    found = difference((one, first))
    assert found.tasks == 6
    assert found.mean == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1), "tasks differ by much, and each does as much better"
    assert found.high == pytest.approx(0.1)


def test_few_tasks_give_no_interval_and_none_in_common_no_figure() -> None:
    few = difference((of_tasks(a=0.5, b=0.75), of_tasks(a=0.25, b=0.25, c=1.0)))
    assert (few.mean, few.low, few.high, few.tasks) == (0.375, None, None, 2)
    assert few.why == "no interval: fewer than 6 tasks in common"
    none = difference((of_tasks(a=0.5), of_tasks(b=0.5)))
    assert (none.mean, none.why) == (None, "no task in common")


def test_an_arm_whose_trials_all_failed_is_no_zero_to_compare_with() -> None:
    failed = of_tasks(a=0.0)
    failed.reasons["lost"] += 1
    assert difference((of_tasks(a=0.5), failed)).why == "all trials of one of the two failed"


def test_runs_of_other_configs_stand_side_by_side(tmp_path: Path) -> None:
    finished(str(tmp_path / "one"))
    control(str(tmp_path / "two"))
    one, two = compare([str(tmp_path / "one"), str(tmp_path / "two")])
    assert one.differs == ()
    assert "selection.rule: 'best' -> 'random'" in two.differs
    assert one.arms.measured == summarize(Journal(Store(str(tmp_path / "one"))))
    assert two.arms.measured == summarize(Journal(Store(str(tmp_path / "two"))))
    arm = "after round 2"
    paired = two.arms.paired[arm]
    tasks = [f"test-{i:03d}" for i in range(12)]
    expected = fmean(
        recorded_reward(tmp_path / "two", arm, task) - recorded_reward(tmp_path / "one", arm, task) for task in tasks
    )
    assert paired.tasks == 12
    assert paired.mean == pytest.approx(expected)
    assert paired.low
    assert paired.high
    assert paired.low < paired.mean < paired.high < 0
    assert two.by_name, "the seeds differ"
    assert set(two.arms.paired) == {"untrained self-edits", "after round 1", "after round 2"}


def test_last_policies_of_differently_many_rounds_are_compared(tmp_path: Path) -> None:
    finished(str(tmp_path / "one"))
    run = FakeRun(str(tmp_path / "two"), rounds=1)
    run.write_config()
    run.evaluate("untrained self-edits", 0.58)
    run.explore(1, 0.5)
    run.update(1)
    run.evaluate("after round 1", 0.5, 1, ended=0.6)
    run.fail("round 1", "train-000", 0, "cannot be parsed")
    run.journal.flush()
    one, two = compare([str(tmp_path / "one"), str(tmp_path / "two")])
    assert two.arms.paired[LAST].mean
    assert two.arms.paired[LAST].mean < 0
    assert two.arms.pending["after round 1"] == 12 - two.arms.paired["after round 1"].tasks
    assert two.failures == {"data": 1}
    assert one.failures == {}
    said = "\n".join(lines([one, two]))
    assert "[2]  run.rounds: 2 -> 1" in said
    assert "trials to come" in said
    assert "failed: data" in said
    (round_two,) = [line for line in said.splitlines() if line.startswith("round 2")]
    assert round_two.endswith("–")


@pytest.mark.slow
def test_a_run_of_an_older_version_is_compared_and_what_it_did_not_record_is_said(small: Path) -> None:
    said = "what lies behind its paths is not on record (0.1.0)"
    _, old = compare([str(small), OLD_RUN])
    assert "domain.test: 4 -> 2" in old.differs
    assert said in old.differs
    assert old.seconds is None
    _, new = compare([OLD_RUN, str(small)])
    assert "domain.test: 2 -> 4" in new.differs


def with_methods_and_passages(folder: Path, seed: int, passages: int, *methods: str) -> None:
    """A run that measured methods, and learnt so many passages in turn by two ways."""
    run = FakeRun(str(folder), seed=seed, rounds=0)
    run.write_config()
    for method in methods:
        arm = Arm(method, texts=2)
        for number in range(8):
            task, recipe = f"test-{number:03d}", f"{method} {number}"
            study = StudyRow(recipe, task_id=task, method=method, texts=2, recipe=recipe)
            planned = PlannedRow.at(METHODS, arm.name, task, 0, 0, f"trial {recipe}", recipe=recipe)
            reward = 0.5 + 0.1 * (seed - 1) * (method == "seal") + number / 100
            for row in (study, planned, OutcomeRow(planned.trial, reward=reward, tokens=9)):
                run.journal.record(row)
    for way in ("merge", "library"):
        for step in (0, passages):
            for place in range(passages):
                arm_, task = arm_of(sequence_head(0, way), step), f"test-{place:03d}"
                planned = PlannedRow.at(CONTINUAL, arm_, task, place, 0, f"{arm_} {place}")
                run.journal.record(planned)
                run.journal.record(OutcomeRow(planned.trial, reward=0.1 * seed + place / 100 if step else 0.0))
    run.journal.flush()


def test_methods_and_passages_in_turn_are_compared_where_both_runs_have_them(tmp_path: Path) -> None:
    with_methods_and_passages(tmp_path / "one", 1, 8, "passage", "seal", "qa")
    with_methods_and_passages(tmp_path / "two", 2, 6, "passage", "seal")
    one, two = compare([str(tmp_path / "one"), str(tmp_path / "two")])
    assert set(one.methods.measured) == {"passage, 2 texts", "seal, 2 texts", "qa, 2 texts"}
    assert set(two.methods.paired) == {"passage, 2 texts", "seal, 2 texts"}
    assert two.methods.paired["seal, 2 texts"].mean == pytest.approx(0.1)
    assert two.methods.paired["seal, 2 texts"].low == pytest.approx(0.1)
    assert two.methods.paired["passage, 2 texts"].mean == pytest.approx(0.0)
    assert set(two.in_turn.paired) == {"merge", "library"}
    kept = two.in_turn.paired["library"]
    assert (kept.tasks, kept.mean) == (6, pytest.approx(0.1)), "of the six passages that both have learnt"
    said = "\n".join(lines([one, two]))
    assert "accuracy of methods: difference to [1], in points, by task:" in said
    assert "+10.0 (+10.0 to +10.0), 6 tasks" in said
    assert "held-out accuracy" not in said
    assert "not compared:" in said
    assert "what methods cost" in said


def test_of_few_tasks_it_is_said_once_how_few_they_are(tmp_path: Path) -> None:
    with_methods_and_passages(tmp_path / "one", 1, 3)
    said = "\n".join(lines(compare([str(tmp_path / "one")] * 2)))
    assert "(3 tasks)" in said
    assert "(3 tasks), 3 tasks" not in said


@pytest.mark.parametrize("count", [2, 4])
def test_no_line_is_longer_than_a_terminal_is_wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"run-{number}" for number in range(count)]
    for number, name in enumerate(names):
        finished(name, seed=number)
        with_methods_and_passages(Path(name), number, 8, "passage", "active-reading")
    found = compare(names)
    assert max(map(len, lines(found))) <= 80
    assert len(lines(found, 200)) < len(lines(found))


def test_the_command_prints_a_table_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(str(tmp_path / "one"))
    finished(str(tmp_path / "two"), seed=5)
    places = [str(tmp_path / "one"), str(tmp_path / "two")]
    with pytest.raises(SystemExit, match="0"):
        main(["compare", *places, "--json"])
    one, two = json.loads(capsys.readouterr().out)
    assert one["paired"] == {}
    assert set(two["paired"]["base"]) == {"mean", "low", "high", "tasks", "why"}
    assert [each["number"] for each in two["rounds"]] == [1, 2]
    assert two["methods"] == two["in_turn"] == {"measured": {}, "paired": {}}
    with pytest.raises(SystemExit, match="0"):
        main(["compare", *places])
    shown = capsys.readouterr().out
    assert "[2]  run.seed: 1 -> 5" in shown
    assert "[2] is of another source, seed or domain than [1]" in shown


def test_seeds_of_a_config_are_one_and_each_is_held_to_that_of_its_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (1, 2):
        finished(f"best-{seed}", seed=seed)
        control(f"random-{seed}", seed=seed, name=f"control-{seed}")  # what a run is called makes it no other
    arm = "after round 2"
    best, random = compare(["best-1", "best-2", "random-2", "random-1"], seeds=True)
    assert (best.places, best.name) == (("best-1", "best-2"), "invented, seeds 1, 2")
    assert (random.places, random.differs) == (("random-2", "random-1"), ("selection.rule: 'best' -> 'random'",))
    assert not random.by_name, "of the seed that both have, the tasks are the same"
    of_a_seed = [compare([f"best-{seed}", f"random-{seed}"])[1] for seed in (1, 2)]
    assert random.arms.measured[arm].n == 12, "tasks that both seeds measured count once"
    assert random.arms.paired[arm].tasks == 12
    means = [each.arms.paired[arm].mean or 0 for each in of_a_seed]
    assert random.arms.paired[arm].mean == pytest.approx(fmean(means))
    assert random.trials == sum(each.trials for each in of_a_seed)
    alone = [compare([f"best-{seed}", "random-1"])[0].rounds[1] for seed in (1, 2)]
    together = best.rounds[1]
    assert together.mean == pytest.approx(fmean(each.mean or 0 for each in alone))
    assert together.kept_mean == pytest.approx(fmean(each.kept_mean or 0 for each in alone))
    assert (together.trials, together.kept) == tuple(2 * each for each in (alone[0].trials, alone[0].kept))
    with pytest.raises(SystemExit, match="0"):
        main(["compare", "best-1", "best-2", "random-2", "random-1", "--seeds"])
    shown = capsys.readouterr().out
    assert "run.seed" not in shown
    assert "12 tasks" in shown


def test_a_seed_that_the_first_config_was_not_run_with_has_nothing_to_be_held_to(tmp_path: Path) -> None:
    finished(str(tmp_path / "best"), seed=1)
    control(str(tmp_path / "random"), seed=2)
    found = compare([str(tmp_path / "best"), str(tmp_path / "random")], seeds=True)
    assert found[1].arms.paired == {}
    assert "[2] has no seed in common with [1], so no task of it is held to itself" in lines(found)


def test_no_seed_counts_twice_and_seeds_of_one_config_alone_are_not_compared(tmp_path: Path) -> None:
    for number, seed in enumerate((1, 2, 2)):
        finished(str(tmp_path / str(number)), seed=seed)
    first, second, again = (str(tmp_path / str(number)) for number in range(3))
    with pytest.raises(UserError, match="are the same run, seed 2, which would count twice"):
        compare([first, second, again], seeds=True)
    with pytest.raises(UserError, match="`seal-ray eval` shows what they come to together"):
        compare([first, second], seeds=True)


def test_one_run_alone_is_not_compared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give two directories or more"):
        compare([str(tmp_path)])
    with pytest.raises(UserError, match="no run is here"):
        compare([str(tmp_path), str(tmp_path)])
