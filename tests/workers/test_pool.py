"""The pool answers every call, whatever happens to its workers."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.exceptions import OutOfMemoryError

from seal_ray.types import UserError
from seal_ray.workers.health import actor
from seal_ray.workers.pool import Poisoned, Pool, WorkerLost
from seal_ray.workers.pulse import Beating
from tests.workers.stopped import OnlyForTheStopped, Patience, given_up_when_stopped, is_stopped  # noqa: F401

pytestmark = pytest.mark.usefixtures("local_ray")


class Echo(Beating):
    """An actor that answers, dies, or lingers, as it is told."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._state = 0
        if (self._folder / "hang while coming up").exists() and self._first("process", str(os.getpid())):
            os.kill(os.getpid(), signal.SIGSTOP)

    async def setup(self) -> None:
        if (self._folder / "broken").exists():
            raise UserError("the model is not there")
        if (self._folder / "hang in setup").exists():
            await self.hang_once("in setup")

    async def set_state(self, value: int) -> None:
        self._state = value

    async def state(self) -> int:
        return self._state

    async def echo(self, value: int) -> int:
        return value

    async def together(self, weight: int) -> int:
        """How much weight it held at the most while this call was here."""
        self._held = getattr(self, "_held", 0) + weight
        held = self._held
        for _ in range(20):
            await asyncio.sleep(0.005)
            held = max(held, self._held)
        self._held -= weight
        return held

    async def pid(self) -> int:
        await asyncio.sleep(0.01)
        return os.getpid()

    async def die_once(self, name: str) -> str:
        marker = self._folder / name
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return name

    async def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def linger_once(self, name: str) -> str:
        """The first to be asked takes for ever."""
        try:
            (self._folder / name).touch(exist_ok=False)
        except FileExistsError:
            return "second"
        await asyncio.Event().wait()
        return "first"

    async def hang_once(self, name: str) -> str:
        """The first to be asked stands still, all of it, as a stopped process does."""
        if self._first(name):
            os.kill(os.getpid(), signal.SIGSTOP)
        return name

    async def set_state_or_hang(self, value: int) -> None:
        await self.hang_once(f"set {value}")
        self._state = value

    async def run_short(self, times: int) -> int:
        """The first so many to be asked are ended by Ray, as far as their caller can tell, for want of memory."""
        if any(self._first(f"short {i}") for i in range(times)):
            raise OutOfMemoryError("memory on the node was 99 % used")
        return times

    def _first(self, name: str, written: str = "") -> bool:
        try:
            with (self._folder / name).open("x") as file:
                file.write(written)
        except FileExistsError:
            return False
        return True

    async def lose_device_once(self, name: str) -> str:
        marker = self._folder / name
        if not marker.exists():
            marker.touch()
            raise WorkerLost("the device is gone")
        return name

    async def lose_device(self) -> None:
        raise WorkerLost("out of memory on one text")

    async def fail(self) -> None:
        raise KeyError("a bug")


def pool_of(folder: Path, size: int = 2, depth: int = 4, **more: Any) -> Pool:
    echo = actor(Echo, num_cpus=0.1)
    return Pool("echo", lambda: echo.remote(str(folder)), lambda h: h.setup.remote(), size=size, depth=depth, **more)


def in_pool(folder: Path, use: Any, **more: Any) -> Any:
    async def main() -> Any:
        pool = pool_of(folder, **more)
        try:
            return await use(pool)
        finally:
            await pool.close()

    return asyncio.run(main())


def test_many_calls_are_answered_each_with_its_own_result(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        return await asyncio.gather(*(pool.call("echo", i) for i in range(300)))

    assert in_pool(tmp_path, use) == list(range(300))


def test_the_pool_starts_only_as_many_workers_as_the_calls_need(tmp_path: Path) -> None:
    async def use(pool: Pool) -> int:
        await asyncio.gather(*(pool.call("echo", i) for i in range(4)))
        return pool.stats.started

    assert in_pool(tmp_path, use, size=8, depth=4) == 1


def test_workers_are_started_for_calls_that_are_expected(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        with pool.expecting():
            async with asyncio.timeout(300):
                while pool.workers < 3:
                    await asyncio.sleep(0.02)
        return await pool.call("echo", 1), pool.stats.started

    assert in_pool(tmp_path, use, size=3, depth=4) == (1, 3)


def test_a_worker_holds_no_more_than_its_depth_in_weight_and_a_call_beyond_that_alone(tmp_path: Path) -> None:
    weights = [3, 9, 3, 20, 3, 1, 1, 8, 2]

    async def use(pool: Pool) -> Any:
        held = await asyncio.gather(*(pool.call("together", weight) for weight in weights))
        return held, pool.stats.started

    held, started = in_pool(tmp_path, use, size=2, depth=10, weigh=lambda method, args: args[0])
    assert started == 2
    assert held[weights.index(20)] == 20
    assert max(h for h, weight in zip(held, weights, strict=True) if weight < 20) <= 10
    assert max(h for h, weight in zip(held, weights, strict=True) if weight == 3) > 3


def test_whoever_calls_members_by_hand_waits_no_longer_than_whoever_calls_what_lasts_as_long(tmp_path: Path) -> None:
    async def use(pool: Pool) -> list[str]:
        order: list[str] = []

        async def by_hand() -> None:
            async with pool.held(1):
                order.append("by hand")

        async def call(number: int) -> None:
            await pool.call("echo", number)
            order.append("a call")

        async with pool.held(1):
            calls = [asyncio.create_task(call(number)) for number in range(3)]
            while pool.waiting < 3:
                await asyncio.sleep(0)
            calls.append(asyncio.create_task(by_hand()))
            while pool.waiting < 4:
                await asyncio.sleep(0)
        await asyncio.gather(*calls)
        return order

    order = in_pool(tmp_path, use, size=1, depth=1, lasts=lambda method, args: len(args) if method else 9)
    assert order == ["by hand", *["a call"] * 3]


def test_a_pool_made_smaller_lets_a_worker_end_what_it_holds_and_grows_again_when_made_larger(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        async def pids() -> set[int]:
            return set(await asyncio.gather(*(pool.call("pid") for _ in range(30))))

        while len(await pids()) < 3:
            continue
        under_way = [asyncio.create_task(pool.call("pid")) for _ in range(12)]
        while sum(worker.load for worker in pool.members.ready) < 12:
            await asyncio.sleep(0)
        pool.resize(1)
        ended = set(await asyncio.gather(*under_way))
        alone = await pids()
        pool.resize(2)
        while len(two := await pids()) < 2:
            continue
        return ended, alone, two, pool.workers, pool.stats.lost

    ended, alone, two, workers, lost = in_pool(tmp_path, use, size=3)
    assert (len(ended), len(alone), len(two), workers, lost) == (3, 1, 2, 2, 0)
    assert alone < ended
    assert alone < two


def test_a_lost_workers_calls_are_answered_by_another(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        calls = [pool.call("die_once", "a"), *(pool.call("echo", i) for i in range(20)), pool.call("die_once", "b")]
        return await asyncio.gather(*calls), pool.stats.lost

    answers, lost = in_pool(tmp_path, use)
    assert answers == ["a", *range(20), "b"]
    assert lost in (1, 2)  # both deaths may fall on one worker


def test_a_worker_whose_device_is_gone_is_replaced(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        return await pool.call("lose_device_once", "gpu"), pool.stats.lost

    assert in_pool(tmp_path, use) == ("gpu", 1)


def test_a_worker_that_joins_later_gets_the_state_that_was_broadcast(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        await pool.broadcast("set_state", 7)
        await pool.call("die_once", "x")
        await pool.broadcast("set_state", 8)
        return await asyncio.gather(*(pool.call("state") for _ in range(12)))

    assert in_pool(tmp_path, use, size=3) == [8] * 12


def test_a_call_that_kills_every_worker_alone_is_set_aside_and_the_others_live(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        return await asyncio.gather(pool.call("die"), *(pool.call("echo", i) for i in range(6)), return_exceptions=True)

    poisoned, *others = in_pool(tmp_path, use)
    assert isinstance(poisoned, Poisoned)
    assert others == list(range(6))


def test_a_call_no_device_can_hold_is_set_aside_with_the_reason(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        return await pool.call("lose_device")

    with pytest.raises(Poisoned, match="3 of them alone with it: out of memory on one text"):
        in_pool(tmp_path, use)


def test_a_straggler_is_tried_on_an_idle_worker_and_the_first_result_counts(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        (tmp_path / "usual").touch()
        await asyncio.gather(*(pool.call("linger_once", "usual") for _ in range(8)))  # both workers are up
        before = pool.stats.duplicated  # a busy machine has stragglers of its own
        return await pool.call("linger_once", "slow"), pool.stats.duplicated - before

    assert in_pool(tmp_path, use, patience=0.2) == ("second", 1)


def test_a_bug_in_a_worker_is_raised_as_it_was(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        return await pool.call("fail")

    with pytest.raises(KeyError, match="a bug"):
        in_pool(tmp_path, use)


def test_a_setup_that_cannot_succeed_stops_the_pool_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()

    async def use(pool: Pool) -> Any:
        return await pool.call("echo", 1)

    with pytest.raises(UserError, match="the model is not there"):
        in_pool(tmp_path, use)


def test_idle_workers_are_given_back_and_come_again_when_needed(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        await pool.call("echo", 1)
        async with asyncio.timeout(300):
            while pool.workers:
                await asyncio.sleep(0.05)
        return await pool.call("echo", 2), pool.stats.started

    assert in_pool(tmp_path, use, idle_seconds=0.2) == (2, 2)


def test_a_worker_that_hangs_is_told_of_and_replaced_and_gets_none_of_the_calls_that_come(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    given_up_when_stopped: Patience,  # noqa: F811
) -> None:
    given_up_when_stopped.waits = True

    async def use(pool: Pool) -> Any:
        while len(set(await asyncio.gather(*(pool.call("pid") for _ in range(8))))) < 2:
            continue
        call = asyncio.create_task(pool.call("hang_once", "a"))
        while not any(worker.doubted for worker in pool.members.ready):
            await asyncio.sleep(0.01)
        assert await asyncio.gather(*(pool.call("echo", i) for i in range(3))) == [0, 1, 2]
        assert not call.done()
        given_up_when_stopped.waits = False
        return await call, pool.stats.lost

    assert in_pool(tmp_path, use) == ("a", 1)
    assert any("has not answered for" in message for message in caplog.messages)


@pytest.mark.usefixtures("given_up_when_stopped")
def test_a_worker_that_hangs_in_a_broadcast_is_replaced_by_one_that_holds_what_was_broadcast(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        (tmp_path / "set 1").touch()
        await pool.broadcast("set_state_or_hang", 1)
        await pool.call("echo", 1)
        await pool.broadcast("set_state_or_hang", 2)
        return await pool.call("state"), pool.stats.lost

    assert in_pool(tmp_path, use, size=1) == (2, 1)


@pytest.mark.usefixtures("given_up_when_stopped")
def test_a_worker_that_hangs_while_starting_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "hang in setup").touch()

    async def use(pool: Pool) -> Any:
        return await pool.call("echo", 1)

    assert in_pool(tmp_path, use, size=1) == 1
    assert (tmp_path / "in setup").exists()


def test_a_worker_that_hangs_before_its_first_answer_is_told_of_and_another_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "hang while coming up").touch()
    process = tmp_path / "process"

    def stopped() -> bool:
        written = process.read_text() if process.exists() and "was lost" not in caplog.text else ""
        return written != "" and is_stopped(int(written))

    async def use(pool: Pool) -> Any:
        pool.members.limits = OnlyForTheStopped(stopped)  # type: ignore[assignment]
        return await pool.call("echo", 1)

    assert in_pool(tmp_path, use, size=1) == 1
    told, lost = caplog.messages
    assert re.fullmatch(r"echo worker 0 was started and has not answered for \d+ s; it is given up after 3", told)
    assert re.fullmatch(r"echo worker 0 was lost while starting: it was started and has not answered for \d+ s", lost)
    with suppress(psutil.NoSuchProcess):  # Ray ends it for good, in its own time
        psutil.Process(int(process.read_text())).wait(300)


def test_a_worker_that_was_ended_for_want_of_memory_is_replaced_without_blame_for_its_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(pool: Pool) -> Any:
        pool.members.shortage.pause_seconds = 0.01
        return await pool.call("run_short", 5), pool.stats.lost

    assert in_pool(tmp_path, use, size=1) == (5, 5)
    assert sum("its machine is short" in message for message in caplog.messages) == 1


def test_a_pool_whose_every_worker_is_ended_for_want_of_memory_stops_with_advice(tmp_path: Path) -> None:
    async def use(pool: Pool) -> Any:
        pool.members.shortage.patience, pool.members.shortage.times = 0.0, 2
        return await pool.call("run_short", 9)

    with pytest.raises(UserError, match=r"2 times .* 99 % used; stop what else takes the machine's memory"):
        in_pool(tmp_path, use, size=1)
