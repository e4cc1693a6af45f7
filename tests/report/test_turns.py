"""The page of a run without rounds, whose passages came one after another: what it says it did, took and left."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.config import load
from seal_ray.loop.retract import retract
from seal_ray.policy.catalogue import catalogue_of, find
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.report.settings import settings
from tests.in_process import run_counted
from tests.report.domains import in_turn_only
from tests.report.test_page import words_of
from tests.runs import CONFIG

STREAMS = CONFIG.parent / "streams.toml"
SMALL = [
    *("--continual.sequences", "1", "--continual.passages", "2", "--continual.ask_every", "2"),
    *("--continual.ways", '["library", "kl", "joint"]', "--update.max_rank", "0", "--domain.test", "8"),
    *("--trial.optim.epochs", "10", "--model.dtype", "float32"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that really learnt two passages in turn."""
    folder = tmp_path_factory.mktemp("in-turn") / "run"
    run_counted(load(STREAMS, [*SMALL, "--run.dir", str(folder)]))
    return folder


def commands(page: str) -> list[str]:
    """What the page offers to type."""
    offered = page.partition('<dl class="use">')[2].partition("</dl>")[0]
    return [f"seal-ray {each.partition('<')[0].replace('&#39;', chr(39))}" for each in offered.split(">seal-ray ")[1:]]


def test_the_head_of_a_run_without_rounds_says_what_it_does_and_nothing_of_rounds(tmp_path: Path) -> None:
    said = dict(settings(load(STREAMS, ["--continual.ways", '["kl", "library"]'])))
    assert said["Tasks"] == "microworld: 100 held out"
    assert said["In turn"] == "8 passages in 4 orders, written of by the policy as it was at the beginning"
    assert said["Ways"] == "kl, library"
    assert not {"Self-edits", "Update", "Rounds"} & said.keys()
    said = dict(settings(load(CONFIG.parent / "methods.toml", ["--run.rounds", "0", "--evaluation.texts", "[1, 2]"])))
    assert said["Texts"].startswith("1, 2 a task")
    assert "seal" in said["Methods"].split(", ")
    words = words_of(render(read_run(in_turn_only(tmp_path))))
    assert "What the update changed in the writing" not in words


def test_a_run_with_rounds_says_what_they_are() -> None:
    said = dict(settings(load(CONFIG.parent / "microworld.toml", ["--run.rounds", "2"])))
    assert said["Rounds"] == "2, kept by the rule “best”"
    assert "to learn from a round" in said["Tasks"]
    assert "In turn" not in said


def test_what_it_took_counts_the_tokens_of_passages_too(tmp_path: Path) -> None:
    found = read_run(in_turn_only(tmp_path))
    trials = found.totals.trials
    assert found.totals.trained_tokens == 600 * trials + 100 * 4 * 2


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_every_command_that_the_page_offers_does_what_it_says(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Path(shutil.copytree(whole, tmp_path / "run"))
    offered = [each for each in commands(render(read_run(str(mine)))) if not each.endswith(" OTHER")]
    assert [shlex.split(each)[1:3] for each in offered[:3]] == [
        ["adapters", "list"],
        ["export", str(mine)],
        ["adapters", "retract"],
    ]
    monkeypatch.chdir(tmp_path)
    for each in offered:
        with pytest.raises(SystemExit, match="0"):
            main(shlex.split(each)[1:])
    assert (tmp_path / "in-turn/adapter_config.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_what_was_taken_out_again_is_said(whole: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(whole, tmp_path / "run")
    words = words_of(render(read_run(str(mine))))
    assert "Taken out again" not in words
    assert "KL from the first policy, in nats" in words, "which each way was measured by"
    told = retract(str(mine), find(str(mine), catalogue_of(str(mine)), "library/0/lesson-1"))
    found = read_run(str(mine))
    (without,) = found.left.without
    out, other = told.passages
    assert (without.base, without.had, without.has) == (out.base, out.learnt, out.without)
    assert (without.others, without.known) == ((other.learnt, other.without), told.known_before)
    assert f"sequence 0 by library without 1 {100 * out.base:.1f}% {100 * out.learnt:.1f}%" in words_of(render(found))
