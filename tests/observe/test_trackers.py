"""Trackers after a run that was killed: the same run of theirs, no step twice and none missing, and the same values."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from seal_ray.observe.figures import Figure, Figures
from seal_ray.observe.observers import TRACKERS
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from tests.gated import Gate
from tests.observe.readers import INSTALLED, READERS, environment, mlflow_server, only_with
from tests.runs import CONFIG, SMALL, kill_when
from tests.warm import Command

pytestmark = pytest.mark.slow

GRADED = (5, 12, 9)
"""So many trials are graded before each kill: among the first, among the round's, and under the policy it made."""
of_each_tracker = pytest.mark.parametrize("tracker", sorted(TRACKERS))


class Watched:
    """A small run under every tracker that is installed, as a command that can be killed."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.env, self.gate = folder / "run", env, Gate(folder / "gate")

    def start(self) -> Command:
        where = [
            "--run.dir",
            str(self.folder),
            "--run.rounds",
            "1",
            "--workers.address",
            "in-process",
            "--quiet",
            "--json",
        ]
        watched = ["--run.observers", json.dumps(INSTALLED), *self.gate.arguments]
        log, said = (self.folder.with_suffix(suffix) for suffix in (".log", ".json"))
        said.unlink(missing_ok=True)
        return Command(["run", str(CONFIG), *SMALL, *where, *watched], log, said, self.env)

    def finish(self) -> None:
        self.gate.open()
        assert self.start().wait(300) == 0, self.log

    @property
    def log(self) -> str:
        return self.folder.with_suffix(".log").read_text()

    def read(self, tracker: str) -> list[Figure]:
        return list(READERS[tracker](self.folder, self.env))

    def figures(self) -> list[Figure]:
        """What a run is told that comes to its journal undisturbed: all rows at once, and each measurement's end."""
        journal, figures = Journal(Store(str(self.folder))), Figures()
        found = figures.of({table: journal.rows(table) for table in Figures.COLUMNS})
        return [*found, *(each for version in range(2) for each in figures.measured(version)), *figures.ended()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) if "mlflow" in INSTALLED else nullcontext("") as address:
        yield address


@pytest.fixture(scope="module")
def quiet(server: str, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """One undisturbed run."""
    folder = tmp_path_factory.mktemp("quiet")
    run = Watched(folder, environment(folder, server))
    run.finish()
    return run


@pytest.fixture(scope="module")
def killed(server: str, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """The same run, killed three times."""
    folder = tmp_path_factory.mktemp("killed")
    run = Watched(folder, environment(folder, server))
    for trials in GRADED:
        run.gate.allow(trials)
        assert kill_when(run.start(), lambda: run.gate.holds), run.log
    run.finish()
    return run


@of_each_tracker
def test_of_a_killed_run_no_step_comes_twice_and_none_is_missing(tracker: str, killed: Watched) -> None:
    only_with(tracker)
    counted = Counter((each.name, each.step) for each in killed.read(tracker))
    assert counted == Counter((each.name, each.step) for each in killed.figures())


@of_each_tracker
def test_of_a_killed_run_every_value_is_what_its_record_says(tracker: str, killed: Watched) -> None:
    only_with(tracker)
    expected = {(each.name, each.step): each.value for each in killed.figures()}
    assert {(name, step): value for name, step, value in killed.read(tracker)} == pytest.approx(expected, rel=1e-6)


@of_each_tracker
def test_a_killed_run_ends_with_the_figures_of_an_undisturbed_one(
    tracker: str, quiet: Watched, killed: Watched
) -> None:
    only_with(tracker)
    expected, found = (by_step(run.read(tracker)) for run in (quiet, killed))
    assert {name: [*steps] for name, steps in found.items()} == {name: [*steps] for name, steps in expected.items()}
    for name, steps in found.items():
        # What is counted so far is counted in the order on record, which a kill may change; its end it does not.
        same = slice(-1, None) if name.startswith(("reward/", "tokens/")) else slice(None)
        assert [*steps.values()][same] == pytest.approx([*expected[name].values()][same], rel=1e-6), name


def test_the_standard_output_of_a_tracked_run_is_the_runs_own(quiet: Watched) -> None:
    assert "after round 1" in json.loads(quiet.folder.with_suffix(".json").read_text())


@of_each_tracker
def test_a_finished_run_given_again_tells_nothing_again(tracker: str, quiet: Watched) -> None:
    only_with(tracker)
    before = sorted(quiet.read(tracker))
    if tracker == INSTALLED[0]:  # once for all of them
        quiet.finish()
    assert sorted(quiet.read(tracker)) == before


def by_step(figures: list[Figure]) -> dict[str, dict[int, float]]:
    """Each curve in the order of its steps, without the one that is of time alone."""
    found: dict[str, dict[int, float]] = {}
    for name, step, value in sorted(figures):
        if name != "trials per second":
            found.setdefault(name, {})[step] = value
    return found
