"""A reward with memory: what was known before is asked of every trial, and what it lost counts against it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest

from seal_ray.cli.app import main
from seal_ray.config import load
from seal_ray.looking.again import again
from seal_ray.looking.explained import explain
from seal_ray.looking.explanation import lines
from seal_ray.loop.memory import PROBES, Memory
from seal_ray.loop.preflight import prepare
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.record.journal import Journal
from seal_ray.record.rows import KeptRow, OutcomeRow, PlannedRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import as_json, print_table, summarize
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.types import Example, Failure, Outcome, UserError
from seal_ray.workers.in_process import InProcessCluster
from tests.runs import CONFIG, results, small_run

COEF = 0.3
FEW = ("--run.rounds", "1", "--domain.train", "3", "--domain.test", "2", "--evaluation.baselines", '["passage only"]')
WITH = (*FEW, "--selection.reward.memory", str(COEF))


@pytest.fixture(scope="module")
def with_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One round in this process, chosen by both."""
    folder = tmp_path_factory.mktemp("memory") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seal_ray.loop.session.open_cluster", InProcessCluster)
        run(small_run(folder, *WITH), Silent())
    return folder


def tried(folder: Path) -> dict[tuple[str, str, int], OutcomeRow]:
    """What came of every self-edit of the round, and of the evaluation, by its place."""
    journal = Journal(Store(str(folder)))
    ended = {row.key: row for row in journal.read(OutcomeRow)}
    places = (row for row in journal.read(PlannedRow) if row.recipe)
    return {(row.stage if row.arm != "passage only" else row.arm, row.task_id, row.index): ended[row.trial]
            for row in places}  # fmt: skip


def test_what_a_trial_cost_is_noted_beside_its_own_likelihoods() -> None:
    memory = Memory((Example("Velmo", "where?"), Example("figs", "what?")), before=-0.5)
    found = memory.noted(Outcome("key", log_likelihoods=(-9.0, -1.0, -2.0)))
    assert (found.forgotten, found.log_likelihoods) == (1.0, (-9.0,))
    failed = Outcome("key", failure=Failure("data", "no text"))
    assert memory.noted(failed) == failed
    assert Memory().noted(Outcome("key", log_likelihoods=(-9.0,))).forgotten is None


@pytest.mark.slow
def test_gain_and_loss_are_apart_on_record_and_a_round_keeps_what_is_best_by_both(with_memory: Path) -> None:
    found = tried(with_memory)
    assert all(row.forgotten is not None and not row.log_likelihoods for row in found.values())
    assert all(row.reward == pytest.approx(fmean(row.verdicts)) for row in found.values()), "the reward is the gain"
    by_both = {at: (row.reward or 0.0) - COEF * (row.forgotten or 0.0) for at, row in found.items()}
    kept = list(Journal(Store(str(with_memory))).read(KeptRow))
    assert kept
    for row in kept:
        of_task = {at: value for at, value in by_both.items() if at[:2] == (row.stage, row.task_id)}
        assert row.reward == of_task[row.stage, row.task_id, row.index] == max(of_task.values())


@pytest.mark.slow
def test_without_a_coefficient_nothing_more_is_asked_and_what_is_taught_is_the_same(
    with_memory: Path, tmp_path: Path, in_process: Counter[str]
) -> None:
    run(small_run(tmp_path / "run", *FEW), Silent())
    journal = Journal(Store(str(tmp_path / "run")))
    outcomes, planned = list(journal.read(OutcomeRow)), {row.trial for row in journal.read(PlannedRow)}
    assert {row.key for row in outcomes} == planned, "whatever was asked is some task's"
    assert in_process["trial"] == len(planned)
    assert all(row.forgotten is None and not row.log_likelihoods for row in outcomes)
    one, other = ({at: row for at, row in tried(folder).items() if at[0] != "evaluation"}
                  for folder in (with_memory, tmp_path / "run"))  # fmt: skip
    assert {at: (row.reward, row.answers) for at, row in one.items()} == {
        at: (row.reward, row.answers) for at, row in other.items()
    }
    assert "forgotten" not in as_json(summarize(journal))["passage only"]


@pytest.mark.slow
def test_another_coefficient_takes_every_trial_of_the_first_round_from_a_run_beside_it(
    with_memory: Path, tmp_path: Path, in_process: Counter[str]
) -> None:
    another = (
        *WITH,
        "--selection.reward.memory",
        "100",
        "--selection.rule",
        "random",
        "--evaluation.every_round",
        "false",
    )
    said = f"no self-edit taught anything.*`seal-ray explain {tmp_path / 'run'}` has what was tried"
    with pytest.raises(UserError, match=said):
        run(small_run(tmp_path / "run", *another), Silent(), beside=str(with_memory))
    assert in_process["trial"] == 2, "what is known before is said and read once more, and nothing else is"


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_on_ray_and_continued_a_reward_with_memory_is_the_same(with_memory: Path, tmp_path: Path) -> None:
    config = small_run(tmp_path / "run", *WITH)

    class Stops(Silent):
        """Ends the run once a few trials are on record."""

        left = 4

        def on(self, event: object) -> None:
            self.left -= isinstance(event, OutcomeRow)
            if self.left == 0:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, Stops())
    run(config, Silent())
    assert results(tmp_path / "run") == results(with_memory)
    costs = [{row.key: row.forgotten for row in Journal(Store(str(folder))).read(OutcomeRow)}
             for folder in (tmp_path / "run", with_memory)]  # fmt: skip
    assert costs[0] == costs[1]


@pytest.mark.slow
def test_a_trial_is_explained_with_both_and_comes_out_the_same_again(with_memory: Path) -> None:
    kept = next(iter(Journal(Store(str(with_memory))).read(KeptRow)))
    row = next(row for row in Journal(Store(str(with_memory))).read(PlannedRow) if row.index == kept.index
               and (row.stage, row.task_id) == (kept.stage, kept.task_id))  # fmt: skip
    found = explain(str(with_memory), row.trial)
    said = "\n".join(lines("runs/x", found))
    assert "nats a token of what was known before\nchosen by: " in said
    assert " of gain 1 × 1, memory -" in said or " of gain 0." in said
    assert again(str(with_memory), found).same == dict.fromkeys(("reward", "answers", "failure", "forgotten"), True)


@pytest.mark.slow
def test_the_table_of_results_and_the_report_say_both(with_memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = summarize(Journal(Store(str(with_memory))))
    assert all(arm.forgotten is not None for arm in found.values())
    print_table(found)
    assert "forgotten" in capsys.readouterr().out
    page = read_run(str(with_memory))
    (round_,) = page.rounds
    assert round_.forgotten is not None
    assert round_.kept_forgotten is not None
    assert "Forgotten is how much less likely" in render(page)


def test_a_domain_that_cannot_say_what_was_known_before_has_no_reward_with_memory(tmp_path: Path) -> None:
    job = CONFIG.parent / "arc_small.toml"
    config = load(job, ["--run.dir", str(tmp_path / "run"), "--selection.reward.memory", "0.1"])
    with pytest.raises(UserError, match=r"selection\.reward\.memory: the domain 'arc\w*' has no questions of what was"):
        prepare(config)
    assert PROBES > 0


def test_a_coefficient_below_zero_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", str(CONFIG), "--run.dir", str(tmp_path / "run"), "--selection.reward.memory", "-1", "--dry-run"])
    assert "selection.reward.memory" in capsys.readouterr().err
