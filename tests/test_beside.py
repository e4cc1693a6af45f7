"""A run that is given another's directory takes from there what would come out the same, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from tests.runs import CONFIG, SMALL, results, small_run

CONTROL = ("--selection.rule", "random", "--evaluation.baselines", "[]", "--evaluation.every_round", "false")
ONE_ROUND = ("--run.rounds", "1", "--domain.train", "2", "--domain.test", "2")


@pytest.mark.slow
def test_a_control_beside_its_run_does_the_first_round_no_second_time_and_ends_as_it_would_alone(
    tmp_path: Path, in_process: Counter[str]
) -> None:
    run(small_run(tmp_path / "run", *ONE_ROUND), Silent())
    in_process.clear()
    run(small_run(tmp_path / "alone", *ONE_ROUND, *CONTROL), Silent())
    alone = dict(in_process)
    in_process.clear()
    settings = [*SMALL, *ONE_ROUND, *CONTROL, "--run.dir", str(tmp_path / "beside")]
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(CONFIG), *settings, "--beside", str(tmp_path / "run"), "--quiet"])
    assert results(tmp_path / "beside") == results(tmp_path / "alone")
    first_round = 2 * 3
    assert alone["sample"] - in_process["sample"] == first_round
    assert alone["trial"] - in_process["trial"] == first_round + 2  # and what each task scores untrained


@pytest.mark.slow
def test_another_seed_s_run_has_nothing_to_lend(tmp_path: Path, in_process: Counter[str]) -> None:
    one_arm = ("--run.rounds", "0", "--evaluation.baselines", "[]", "--domain.test", "2")
    run(small_run(tmp_path / "run", *one_arm), Silent())
    before = Counter(in_process)
    run(small_run(tmp_path / "other", *one_arm, "--run.seed", "2"), Silent(), beside=str(tmp_path / "run"))
    assert in_process == before + before


def test_a_directory_that_can_lend_nothing_is_refused_by_the_command(
    tmp_path: Path, in_process: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        small_run(tmp_path / "run", "--run.rounds", "0", "--evaluation.baselines", "[]", "--domain.test", "1"), Silent()
    )
    for beside, seed, why in (
        ("run", "2", "it has another seed, so nothing that this run would do the same way"),
        ("rum", "1", "no run is here"),
    ):
        settings = [*SMALL, "--run.seed", seed, "--run.dir", str(tmp_path / "other")]
        with pytest.raises(SystemExit):
            main(["run", str(CONFIG), *settings, "--beside", str(tmp_path / beside)])
        assert why in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
