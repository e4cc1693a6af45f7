"""`seal-ray ls`: every run a line, whatever state it is in, and nothing that is no run is taken for one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.looking.listing import Listed, runs_below, table
from seal_ray.record.lease import Lease
from seal_ray.record.storage import Store
from seal_ray.record.summary import interval
from tests.record.journals import segments
from tests.report.build import FakeRun, control, finished

OLD_RUN = Path(__file__).parents[1] / "data" / "run-0.1.0"


def never(seconds: float) -> None:
    raise AssertionError("nothing is to be waited for")


def listed(place: Path | str) -> dict[str, Listed]:
    return {each.place: each for each in runs_below(str(place), never)}


def begun(url: str) -> FakeRun:
    """A run in its second round, whose first measurement of a policy has not ended."""
    run = FakeRun(url)
    run.write_config()
    run.evaluate("untrained self-edits", 0.58)
    run.explore(1, 0.5)
    run.update(1)
    run.evaluate("after round 1", 0.8, 1, ended=0.5)
    run.journal.flush()
    return run


def test_a_run_is_listed_with_what_it_is_and_how_far_it_is(tmp_path: Path) -> None:
    finished(str(tmp_path / "whole"))
    begun(str(tmp_path / "deep" / "half"))
    found = listed(tmp_path)
    whole, half = found["whole"], found["deep/half"]
    assert (whole.name, whole.domain, whole.model) == ("invented, seed 1", "microworld", "microworld")
    assert (whole.state, whole.rounds_done, whole.rounds) == ("finished", 2, 2)
    assert whole.start
    assert whole.now
    assert 0.4 < whole.start.low < whole.start.accuracy < 0.7 < whole.now.low < whole.now.accuracy
    assert whole.started == pytest.approx(1_700_000_000, abs=1)
    assert whole.last
    assert whole.last > whole.started
    assert (half.state, half.rounds_done, half.now) == ("stopped", 1, None), "an arm counts once all of it has ended"


def test_a_method_of_one_s_own_need_not_be_importable_where_its_run_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The module lies beside the config, and these commands are given the run's directory alone."""
    run = finished(str(tmp_path / "whole"))
    evaluation = replace(run.config.evaluation, methods=("passage", "nowhere:Method"))
    run.config = replace(run.config, evaluation=evaluation)
    run.write_config()
    whole = listed(tmp_path)["whole"]
    assert whole.now
    assert (whole.rounds_done, whole.problem) == (2, "whether all was measured is not on record")
    with pytest.raises(SystemExit, match="0"):
        main(["watch", str(tmp_path / "whole"), "--once"])
    said = capsys.readouterr().out
    assert "evaluation: after round 2" in said
    assert "0 so far" in said[said.index("methods: trials") :]


def test_a_run_whose_lock_is_held_is_running(tmp_path: Path) -> None:
    begun(str(tmp_path / "half"))
    hold = Store(str(tmp_path / "half")).lock()
    assert listed(tmp_path)["half"].state == "running"
    hold.close()
    assert listed(tmp_path)["half"].state == "stopped"


def test_a_run_killed_while_its_last_policy_wrote_is_not_finished(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path / "run"))
    run.write_config()
    run.evaluate("untrained self-edits", 0.58)
    for number in (1, 2):
        run.explore(number, 0.5)
        run.update(number)
        if number == 1:
            run.evaluate("after round 1", 0.8, 1)
    run.test = 7  # of twelve, the others are not planned yet
    run.evaluate("after round 2", 0.8, 2)
    run.journal.flush()
    assert listed(tmp_path)["run"].state == "stopped"


def test_what_is_damaged_or_no_run_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    finished(str(tmp_path / "whole"))
    finished(str(tmp_path / "broken"))
    segments(tmp_path / "broken")[0].write_bytes(b"other bytes")
    finished(str(tmp_path / "nameless"))
    (tmp_path / "nameless/config.json").unlink()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/config.json").write_text('{"config": {"run": 3}, "schema": 2}')
    found = listed(tmp_path)
    assert {place: each.state for place, each in found.items()} == {
        "broken": "damaged",
        "nameless": "damaged",
        "odd": "damaged",
        "whole": "finished",
        "model": "no run",
    }
    assert "seal-ray repair" in found["broken"].problem
    assert "config.json is missing" in found["nameless"].problem


def test_a_control_inside_a_run_is_a_run_and_its_bytes_count_once(tmp_path: Path) -> None:
    finished(str(tmp_path / "demo"))
    control(str(tmp_path / "demo/control"))
    found = listed(tmp_path / "demo")
    assert list(found) == [".", "control"]
    every = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert sum(each.bytes for each in found.values()) == every


def test_a_run_of_an_older_version_is_listed(tmp_path: Path) -> None:
    shutil.copytree(OLD_RUN, tmp_path / "old")
    old = listed(tmp_path)["old"]
    assert (old.state, old.rounds_done, old.started) == ("stopped", 1, None)


@pytest.mark.slow
def test_a_run_that_ended_is_finished(small: Path) -> None:
    (found,) = runs_below(str(small), never)
    assert (found.state, found.rounds_done, found.problem) == ("finished", 2, "")


def test_every_run_is_one_line_and_nothing_is_obeyed(tmp_path: Path) -> None:
    finished(str(tmp_path / "a\x1b[2Jb"))
    finished(str(tmp_path / "c"))
    shown = table(runs_below(str(tmp_path), never))
    assert len(shown) == 3
    assert shown[1].startswith("a[2Jb")
    assert shown[1].index("finished") == shown[2].index("finished") == shown[0].index("state")


def test_runs_in_object_storage_are_listed_and_a_lease_is_waited_out(bucket: str) -> None:
    above = bucket.rpartition("/")[0]
    finished(bucket)
    begun(f"{above}/half")
    Store(f"{above}/other").write("folder/x.txt", b"x")
    Lease.acquire(Store(f"{above}/half"), 0.01, renewed=False)
    waited: list[float] = []
    found = {each.place: each for each in runs_below(above, waited.append)}
    assert {place: each.state for place, each in found.items()} == {
        "one": "finished",
        "half": "stopped",
        "other": "no run",
    }
    assert found["one"].bytes > 1000


def test_the_command_says_it_as_json_or_as_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(str(tmp_path / "whole"))
    with pytest.raises(SystemExit, match="0"):
        main(["ls", str(tmp_path), "--json"])
    (tree,) = json.loads(capsys.readouterr().out)
    assert (tree["place"], tree["state"], tree["rounds"]) == ("whole", "finished", 2)
    assert tree["started"].startswith("2023-11-14T22:13:20")
    assert set(tree["now"]) >= {"accuracy", "low", "high", "n"}
    with pytest.raises(SystemExit, match="0"):
        main(["ls", str(tmp_path)])
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_place_without_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["ls", str(tmp_path)])
    assert capsys.readouterr().err == f"{tmp_path}: no run is here, nor below\n"
    with pytest.raises(SystemExit, match="2"):
        main(["ls", str(tmp_path / "nowhere")])
    assert "no such folder" in capsys.readouterr().err


def test_on_a_terminal_what_matters_least_gives_way_and_is_named() -> None:
    measured = interval([0.5, 0.25, 0.5, 0.25, 0.5, 0.25])
    run = Listed("methods-1-again", "finished", 100, name="methods, seed 1", rounds_done=1, rounds=2, now=measured)
    whole, narrow = table([run]), table([run], 80)
    assert max(map(len, whole)) > 80 >= max(map(len, narrow))
    assert narrow[0].split() == ["run", "state", "rounds", "at", "the", "start", "now", "size"]
    assert "37.5% (" in narrow[1]
    assert narrow[2] == "no room here for: name, started, last row"
    assert len(table([run], 200)) == 2


def test_what_cannot_be_read_says_why_beyond_the_edge_of_a_terminal() -> None:
    found = table([Listed("a", "damaged", 1, problem="word " * 30)], 80)
    assert found[-1].count("word") == 30
