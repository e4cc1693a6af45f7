"""All that a model does is done by one thread: each thread that allocates would keep memory of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_ray.bank import Bank
from seal_ray.bank.sampling import Sampling
from seal_ray.loop.run import run
from seal_ray.workers.one_thread import OneThread
from tests.runs import small_run


def test_calls_are_made_in_their_order_and_by_the_same_thread() -> None:
    made: list[int] = []

    def call(number: int, *, fails: bool = False) -> int:
        made.append(number)
        if fails:
            raise ValueError(f"call {number}")
        return threading.get_ident()

    async def main() -> None:
        thread = OneThread("test")
        calls = [thread.run(call, number, fails=number == 3) for number in range(9)]
        *found, failed = await asyncio.gather(*calls[:3], *calls[4:], calls[3], return_exceptions=True)
        assert len(set(found)) == 1
        assert found[0] != threading.get_ident()
        assert str(failed) == "call 3"

    asyncio.run(main())
    assert made == [0, 1, 2, 4, 5, 6, 7, 8, 3]


def test_each_bank_of_a_run_is_used_by_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: defaultdict[int, set[int]] = defaultdict(set)
    used = set()

    def noted(kind: type, name: str, bank_of: Callable[[Any], Bank]) -> None:
        whole = getattr(kind, name)

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            threads[id(bank_of(self))].add(threading.get_ident())
            used.add((kind.__name__, name))
            return whole(self, *args, **kwargs)

        monkeypatch.setattr(kind, name, call)

    noted(Bank, "step", lambda bank: bank)
    noted(Bank, "load_missing", lambda bank: bank)
    noted(Sampling, "step", lambda sampling: sampling._bank)
    run(small_run(tmp_path / "run", "--workers.address", "in-process", "--run.rounds", "1"))
    assert used == {("Bank", "step"), ("Bank", "load_missing"), ("Sampling", "step")}
    assert len(threads) == 2, "the trainer's and the sampler's"
    assert all(len(each) == 1 for each in threads.values())
