"""Whatever happens, the run ends as if nothing had. `make test-chaos` runs every schedule, this the most telling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos import schedules
from tests.warm import FORKING


def test_every_schedule_has_a_name_of_its_own_and_there_are_forty() -> None:
    names = [schedule.name for schedule in schedules.ALL]
    assert len(set(names)) == len(names) >= 40
    assert set(schedules.TELLING) <= set(names)


def survives(into: Path, forked_by: tuple[str, int]) -> None:
    """Begin where all is imported and no thread runs, as the command of these schedules does."""
    from tests.chaos.__main__ import survive

    telling = [schedule for schedule in schedules.ALL if schedule.name in schedules.TELLING]
    (into / "found.json").write_text(json.dumps(survive(telling, into, forked_by)))


@pytest.mark.ray
def test_the_most_telling_schedules_each_end_with_the_journal_of_the_quiet_run(
    tmp_path: Path, forking: tuple[str, int]
) -> None:
    process = FORKING.Process(target=survives, args=(tmp_path, forking), daemon=True)
    process.start()
    process.join(1500)
    assert process.exitcode == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert {name: each["wrong"] for name, each in found.items() if each["wrong"]} == {}
    assert found.keys() == set(schedules.TELLING)
    assert all(each["met"] for each in found.values())
