"""What is no task's is asked once; a failure is asked again by whoever goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seal_ray.events import Events
from seal_ray.loop.asked import asked_once
from seal_ray.record.journal import Journal
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
