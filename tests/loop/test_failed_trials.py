"""A trial that failed measured nothing: how many did is said beside every figure, and where all did there is none."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from seal_ray.cli.app import main
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.record.summary import summarize
from seal_ray.types import Completion, DataError, Outcome, Recipe, SampleRequest, Task, Trial, UserError
from seal_ray.workers.in_process import InProcessCluster
from tests.runs import CONFIG, SMALL, small_run

TOO_LONG = ("--trial.answer_tokens", "5000")  # more than the model has positions: no trial can be asked
EVALUATED = ("--run.rounds", "0", "--evaluation.baselines", '["base"]', "--domain.test", "2")


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    code = 0
    try:
        main(list(arguments))
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_an_arm_whose_trials_all_failed_is_an_error_everywhere_and_never_a_figure(
    tmp_path: Path, in_process: Counter[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "run")
    monkeypatch.setattr("seal_ray.loop.preflight.must_fit", lambda *_: None)  # as where only workers can count tokens
    small = [*SMALL, *EVALUATED, *TOO_LONG, "--run.dir", folder]
    code, out, err = command(capsys, "run", str(CONFIG), *small, "--quiet")
    assert code == 2
    assert "0.0%" not in out
    assert "failed" in out
    assert "'untrained self-edits': all its trials failed: prompt 0 of" in err

    code, out, err = command(capsys, "eval", folder, "--json")
    arm = json.loads(out)["base"]
    assert code == 2
    assert (arm["accuracy"], arm["low"], arm["high"], arm["failed"]) == (None, None, None, 1.0)
    assert "5000 new ones exceed the model's" in arm["reason"]
    assert "'base': all its trials failed" in err

    code, out, _ = command(capsys, "report", folder)
    page = Path(out.strip()).read_text(encoding="utf-8")
    assert code == 0
    assert "Nothing was measured here" in page
    assert "base: failed, with every trial; most of them: prompt 0 of" in page
    assert "Held-out accuracy with" not in page


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> None:
    """A micro-world that can use no self-edit on every second held-out task, and none at all to learn from."""
    whole = MicroWorld.recipe

    def recipe(self: MicroWorld, task: Task, completion: str, seed: int) -> Recipe:
        if task.id.startswith("train") or int(task.id[-3:]) % 2:
            raise DataError(f"{task.id}: the note says nothing")
        return whole(self, task, completion, seed)

    monkeypatch.setattr(MicroWorld, "recipe", recipe)


@pytest.mark.usefixtures("picky")
def test_the_share_of_failed_trials_stands_beside_the_figure_they_lower(
    tmp_path: Path, in_process: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    code, out, _ = command(capsys, "run", str(CONFIG), *SMALL, *EVALUATED, "--run.dir", folder, "--quiet", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["base"]["failed"], found["base"]["reason"]) == (0.0, "")
    assert (found["untrained self-edits"]["failed"], found["untrained self-edits"]["n"]) == (0.5, 2)
    assert found["untrained self-edits"]["reason"] == "the note says nothing"

    both = summarize(*(Journal(Store(folder)) for _ in range(2)))["untrained self-edits"]
    assert (both.failed, both.n) == (0.5, 2)
    _, out, _ = command(capsys, "eval", folder)
    assert "untrained self-edits: 50.0% of its trials failed and count as 0, most of them: the note says nothing" in out
    _, out, _ = command(capsys, "report", folder)
    assert "untrained self-edits: 50.0% of its trials failed" in Path(out.strip()).read_text(encoding="utf-8")


@pytest.mark.usefixtures("picky")
@pytest.mark.parametrize("rule", ["best", "usable"])
def test_a_run_that_stops_because_everything_failed_says_why_it_failed(
    tmp_path: Path, in_process: Counter[str], rule: str
) -> None:
    only_learn = ("--run.rounds", "1", "--evaluation.baselines", "[]", "--evaluation.samples", "0")
    with pytest.raises(UserError, match=r"round 1: all 12 self-edits failed, most of them: train-.*: the note says"):
        run(small_run(tmp_path / "run", *only_learn, "--selection.rule", rule), Silent())
    assert in_process["update"] == 0


class OneJudgeAway(InProcessCluster):
    """What is measured beside a round is written once the workers are to close."""

    begun: ClassVar[list[str]] = []

    async def __aenter__(self) -> Self:
        self._closing = asyncio.Event()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        for _ in range(1000):  # whoever goes on does so now
            await asyncio.sleep(0)

    async def hold(self, *_: Any) -> None: ...

    async def sample(self, request: SampleRequest) -> Completion:
        await self._closing.wait()
        return Completion("Ada lives in Velm.", 5, finished=True)

    async def run_trial(self, trial: Trial) -> Outcome:
        self.begun.append(trial.task_id)
        if trial.task_id.startswith("train"):
            raise UserError("the judge is away")
        return Outcome(trial.key, answers=("",) * len(trial.questions))


def test_a_round_that_cannot_go_on_begins_no_trials_of_what_is_measured_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seal_ray.loop.session.open_cluster", OneJudgeAway)
    with pytest.raises(UserError, match="the judge is away"):
        run(small_run(tmp_path / "run", "--evaluation.baselines", "[]", "--domain.test", "2"), Silent())
    assert OneJudgeAway.begun
    assert all(task.startswith("train") for task in OneJudgeAway.begun)
