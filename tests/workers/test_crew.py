"""What kills its workers again and again is set aside where that can be, and stops the run with one line where not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from seal_ray.patience import Patience
from seal_ray.types import Example, Lesson, LoraSpec, OptimSpec, SampleRequest, Trial, UserError
from seal_ray.workers.crew import Crew
from seal_ray.workers.failures import Poisoned
from seal_ray.workers.sampler import EngineSpec
from tests.runs import small_run

TRIAL = Trial("a task", 0, None, 0, ("Is it?",), 4, (), ())
LESSON = Lesson((Example("a note"),), LoraSpec(), OptimSpec(), 7)


class Deadly:
    """A pool every call of which is the end of its workers."""

    workers = 1

    async def timed(self, method: str, *args: Any) -> Any:
        raise Poisoned(f"its worker was lost 5 times, 3 of them alone with it: {method} is too much")

    call = timed

    async def broadcast(self, method: str, *args: Any) -> list[Any]:
        return []


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crew:
    monkeypatch.setattr("seal_ray.workers.crew.ray.put", lambda value: value)
    crew, config = object.__new__(Crew), small_run(tmp_path)
    crew.trainers = crew.samplers = cast(Any, Deadly())
    crew._engine, crew._workers, crew._served = EngineSpec.of(config), config.workers, cast(Any, None)
    crew._patience = Patience(0, "sampling.patience")
    return crew


def test_a_self_edit_or_a_trial_or_a_passage_that_kills_its_workers_is_set_aside(crew: Crew) -> None:
    assert asyncio.run(crew.sample(SampleRequest(0, "Write.", 1))).refused.startswith("set aside: its worker was lost")
    assert asyncio.run(crew.ask(["What is asked of it?"], 8)) == [""]
    failure = asyncio.run(crew.attempt(TRIAL)).failure
    assert failure
    assert (failure.kind, failure.reason.split(":")[0]) == ("data", "set aside")
    outcome, adapter = asyncio.run(crew.learn(TRIAL))
    assert (outcome.failure and outcome.failure.kind, adapter) == ("data", None)


def test_an_update_that_kills_its_workers_stops_the_run_with_one_line(crew: Crew) -> None:
    with pytest.raises(UserError, match=r"the update cannot be done: its worker was lost 5 times.*same command") as one:
        asyncio.run(crew.update(LESSON, 0))
    assert "\n" not in str(one.value)


def test_a_probe_that_kills_its_workers_stops_the_run_with_one_line(crew: Crew) -> None:
    crew._engine = EngineSpec("vllm", 16)
    with pytest.raises(UserError, match=r"the check of the policy cannot be done: .*probe is too much"):
        asyncio.run(crew.set_policy(1, cast(Any, object()), "A text."))
