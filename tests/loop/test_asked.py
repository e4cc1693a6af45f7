"""What is no task's is asked once; a failure is asked again by whoever goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seal_ray.events import Events
from seal_ray.loop.asked import asked_each, asked_once
from seal_ray.record.journal import Journal, R
from seal_ray.record.rows import OutcomeRow
from seal_ray.record.storage import Store
from seal_ray.rundir.keys import Names
from seal_ray.types import BASE, Failure, Outcome, Policy, Trial, UserError

TRIAL = Trial("what was known before", BASE, None, 0, ("Who?",))


class Cluster:
    """Answers every other time."""

    def __init__(self) -> None:
        self.calls = 0

    async def run_trial(self, trial: Trial) -> Outcome:
        self.calls += 1
        lost = Failure("infrastructure", "the worker was lost") if self.calls % 2 else None
        return Outcome(trial.key, answers=("Ada",), failure=lost)


def test_a_failure_is_said_and_not_on_record_and_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    journal = Journal(Store(str(tmp_path)))
    session: Any = SimpleNamespace(names=Names(), journal=journal, events=Events(journal), cluster=Cluster())
    with pytest.raises(UserError, match="what was known before: the worker was lost"):
        asyncio.run(asked_once(session, Policy("base"), TRIAL))
    assert list(journal.read(OutcomeRow)) == []
    first = asyncio.run(asked_once(session, Policy("base"), TRIAL))
    assert first.answers == ("Ada",)
    assert asyncio.run(asked_once(session, Policy("base"), TRIAL)) == first
    assert session.cluster.calls == 2


def test_many_are_asked_side_by_side_and_the_record_is_gone_through_once(tmp_path: Path) -> None:
    journal = Reread(Store(str(tmp_path)))
    session: Any = SimpleNamespace(names=Names(), journal=journal, events=Events(journal), cluster=Echo())
    trials = [Trial("what was known before", BASE, None, 0, (str(number % 3),)) for number in range(6)]
    found = asyncio.run(asked_each(session, Policy("base"), trials))
    assert [row.answers for row in found] == [("0",), ("1",), ("2",)] * 2
    assert asyncio.run(asked_each(session, Policy("base"), trials)) == found
    assert (len(list(journal.read(OutcomeRow))), session.cluster.most_at_once, journal.times) == (3, 3, 2 + 1)


class Reread(Journal):
    """Counts how often it is read."""

    times = 0

    def read(self, kind: type[R]) -> Iterator[R]:
        self.times += 1
        return super().read(kind)


class Echo:
    """Answers each question with itself, once all that are asked are there."""

    at_once = most_at_once = 0

    async def run_trial(self, trial: Trial) -> Outcome:
        self.at_once += 1
        await asyncio.sleep(0)
        self.most_at_once = max(self.most_at_once, self.at_once)
        return Outcome(trial.key, answers=tuple(map(str, trial.questions)))
