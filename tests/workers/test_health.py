"""A worker that hangs is told from one that is slow, and from a driver that stood still itself."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from seal_ray.workers.health import Limits, Pace, hung, unanswered

LIMITS = Limits(every=5, doubted=15, first=300, told=30, silent=60, stuck=900, least=180)
Clock = Callable[[float], None]


class Worker:
    """Its pulse is what `feel` says at each look: a count, or None for no answer."""

    def __init__(self, feel: Callable[[int], int | None], *kinds: str) -> None:
        self.handle, self.pulse = self, self
        self.doubted, self.at = False, Counter(kinds)
        self.looks = 0
        self._feel = feel

    def remote(self) -> Any:
        self.looks += 1
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if (beats := self._feel(self.looks)) is not None:
            answer.set_result(beats)
        return answer


def in_no_time(use: Callable[[Clock], Coroutine[Any, Any, Any]]) -> Any:
    """Run with a clock that jumps to whatever is next waited for, and can be put forward by hand."""
    loop = asyncio.new_event_loop()
    ahead = [0.0]

    def select(timeout: float | None, usual: Any = loop._selector.select) -> Any:  # type: ignore[attr-defined]
        ahead[0] += timeout or 0.0
        return usual(0)

    def put_forward(seconds: float) -> None:
        ahead[0] += seconds

    loop._selector.select = select  # type: ignore[attr-defined]
    loop.time = lambda: ahead[0]  # type: ignore[method-assign]
    try:
        return loop.run_until_complete(use(put_forward))
    finally:
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


def why_given_up(worker: Worker, pace: Pace | None = None) -> tuple[str, float]:
    """The reason, and after how many seconds; gone on with for a day otherwise."""

    async def watch(_: Clock) -> tuple[str, float]:
        try:
            async with asyncio.timeout(86_400):
                reason = await hung(worker, "trainer worker 7", LIMITS, pace or Pace(LIMITS), lambda: None)
        except TimeoutError:
            reason = ""
        return reason, asyncio.get_running_loop().time()

    return in_no_time(watch)


def test_one_that_answers_nothing_is_given_up_after_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    reason, seconds = why_given_up(Worker(lambda look: None if look > 10 else look, "run_trial"))
    assert reason == "it has not answered for 60 s"
    assert 100 <= seconds <= 120
    assert caplog.messages == ["trainer worker 7 has not answered for 30 s; it is given up after 60"]


def test_one_that_never_answers_is_given_up_minutes_after_its_process_was_started_and_told_of_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """For its place it has waited a day."""

    async def watch(_: Clock) -> tuple[str, float]:
        now = asyncio.get_running_loop().time

        async def started() -> bool:
            return now() > 86_400

        return await unanswered("trainer worker 7", LIMITS, started), now()

    reason, seconds = in_no_time(watch)
    assert reason == "it was started and has not answered for 300 s"
    assert round(seconds - 86_400, -1) == 300
    assert caplog.messages == [
        "trainer worker 7 was started and has not answered for 30 s; it is given up after 300",
    ]


def test_one_whose_passes_take_ten_minutes_each_is_never_given_up() -> None:
    reason, seconds = why_given_up(Worker(lambda look: look // 120, "update"))
    assert (reason, seconds) == ("", 86_400)


def test_one_that_has_nothing_to_do_is_never_given_up() -> None:
    assert why_given_up(Worker(lambda look: 3)) == ("", 86_400)


def test_one_that_answers_and_gets_on_with_nothing_is_given_up_by_what_such_calls_have_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reason, first = why_given_up(Worker(lambda look: 3, "run_trial"))
    assert reason == "it answers, and has not got on with run_trial for 900 s"
    pace = Pace(LIMITS)
    for seconds in (20.0, 30.0, 40.0):
        pace.note("run_trial", seconds)
    _, known = why_given_up(Worker(lambda look: 3, "run_trial"), pace)
    assert (round(first, -1), round(known, -1)) == (900, 400)
    assert caplog.messages[0] == "trainer worker 7 has not got on with run_trial for 60 s; it is given up after 900"
    assert len(caplog.messages) == 2


def test_the_doubted_are_told_from_the_others_and_forgiven(caplog: pytest.LogCaptureFixture) -> None:
    late: list[asyncio.Future[int]] = []
    heard: list[bool] = []

    class Late(Worker):
        def remote(self) -> Any:
            answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            late.append(answer)
            return answer

    async def watch(_: Clock) -> None:
        worker = Late(lambda look: None)
        looking = asyncio.create_task(hung(worker, "w", LIMITS, Pace(LIMITS), lambda: heard.append(worker.doubted)))
        await asyncio.sleep(22)
        late[0].set_result(1)
        await asyncio.sleep(10)
        looking.cancel()

    in_no_time(watch)
    assert heard == [True, False]
    assert caplog.messages == []


def test_a_driver_that_stood_still_itself_blames_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Every answer comes a moment after its look, and before each the driver stands still for ten minutes."""
    caplog.set_level(logging.WARNING)

    class Prompt(Worker):
        def remote(self) -> Any:
            answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(6, answer.set_result, self.looks)
            self.looks += 1
            return answer

    async def watch(put_forward: Clock) -> Worker:
        worker = Prompt(lambda look: look, "run_trial")
        looking = asyncio.create_task(hung(worker, "w", LIMITS, Pace(LIMITS), lambda: None))
        for _ in range(100):
            await asyncio.sleep(1)
            put_forward(600)
        assert not looking.done()
        looking.cancel()
        return worker

    assert in_no_time(watch).looks > 30
    assert caplog.messages == []


def test_one_that_died_while_idle_is_noticed_by_its_pulse() -> None:
    class Dead(Worker):
        def remote(self) -> Any:
            answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            answer.set_exception(ActorDiedError())
            return answer

    assert why_given_up(Dead(lambda look: 0)) == ("its process ended", 5.0)
