"""The run's workers, simulated: the bank that trains and asks, and the engines that sample."""

from __future__ import annotations

import asyncio
import heapq
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from seal_ray.plan.rates import CACHE_TOKENS, Rates
from seal_ray.plan.sizes import TextSize, TrialSize

AT_ONCE = 64
"""Texts that an engine through the bank writes side by side, as in `seal_ray.workers.engines.transformers`."""
_DONE, _NEAR = 1e-6, 1e-7  # steps, and seconds, that rounding may leave


@dataclass(eq=False)
class Call:
    """A piece of work that a pool is asked for."""

    size: Any
    """A `TrialSize` or a `TextSize`."""
    weight: int
    """What it takes of what a worker may hold."""
    done: asyncio.Future[tuple[str, float]]
    """The name of the worker that did it, and when it was given to it."""
    since: float = 0.0

    @property
    def length(self) -> int:
        """The longest are given out first, as by the pool of a run."""
        return getattr(self.size, "steps", 0)


class Device:
    """A GPU, or a machine of so many cores; the workers that are at work on it share it evenly."""

    def __init__(self, capacity: float) -> None:
        self._capacity, self._loop = capacity, asyncio.get_running_loop()
        self._left: dict[Worker, float] = {}
        """Seconds that each worker at work would take until its next event, had it the device for itself."""
        self._since, self._timer = 0.0, self._loop.call_soon(lambda: None)

    def settle(self) -> None:
        """Count the work that was done until now. To be called before anything about a worker changes."""
        now = self._loop.time()
        done, self._since = (now - self._since) * self._speed, now
        for worker in self._left:
            self._left[worker] -= done
            worker.busy += done
            worker.progress(done)

    def look_at(self, *workers: Worker) -> None:
        """To be called after anything about these workers has changed."""
        for worker in workers:
            pace = worker.pace()
            if pace is None:
                self._left.pop(worker, None)
            else:
                self._left[worker] = pace
        self._timer.cancel()
        if self._left:
            self._timer = self._loop.call_later(min(self._left.values()) / self._speed, self._wake)

    @property
    def _speed(self) -> float:
        return min(1.0, self._capacity / max(1, len(self._left)))

    def _wake(self) -> None:
        self.settle()
        due = [worker for worker, left in self._left.items() if left <= _NEAR]
        for worker in due:
            worker.fire()
        self.look_at(*due)


class Worker:
    """Takes calls and says of each when it is done."""

    def __init__(self, name: str, device: Device, rates: Rates, done: Callable[[Worker, Call], None]) -> None:
        self.name, self.device, self.rates, self._say = name, device, rates, done
        self.busy = 0.0
        """Seconds of work done, each worth a second of a device of its own."""
        self.load = 0
        self.calls: dict[Call, None] = {}

    def put(self, call: Call) -> None:
        self.device.settle()
        self.calls[call] = None
        self.take(call)
        self.device.look_at(self)

    def done(self, call: Call) -> None:
        del self.calls[call]
        self._say(self, call)

    def stop(self) -> None:
        """This worker is gone."""
        self.device.settle()
        self.pace = lambda: None  # type: ignore[method-assign]
        self.device.look_at(self)

    def take(self, call: Call) -> None: ...

    def pace(self) -> float | None:
        """Seconds of work until something happens here; None when idle."""

    def progress(self, seconds: float) -> None:
        """So many seconds of work are done."""

    def fire(self) -> None:
        """What `pace` counted down to has come."""


class Bank(Worker):
    """Slots that train side by side, step by step, refilled as they finish; asking goes in batches between."""

    def __init__(self, slots: int, *args: Any) -> None:
        super().__init__(*args)
        self.slots = slots
        self.queue: deque[Call] = deque()
        self.running: list[tuple[float, int, Call]] = []
        """A heap: the step of the bank at which a call has done all of its own, and the call."""
        self.tokens = 0.0
        """Of all running slots in one step."""
        self.steps, self.number = 0.0, 0
        self.waiting: list[Call] = []
        self.asked: list[Call] = []
        self.left = 0.0

    def take(self, call: Call) -> None:
        if call.size.steps:
            insort(self.queue, call, key=lambda queued: -queued.size.steps)
        else:
            self.waiting.append(call)
        self._next()

    def _next(self) -> None:
        if self.asked:
            return
        while self.queue and len(self.running) < self.slots:
            call = self.queue.popleft()
            self.number += 1
            heapq.heappush(self.running, (self.steps + call.size.steps, self.number, call))
            self.tokens += call.size.tokens / call.size.steps
        if len(self.waiting) >= self.slots or (self.waiting and not self.running):
            self.asked, self.waiting = self.waiting[: self.slots], self.waiting[self.slots :]
            self.left = asking([call.size for call in self.asked], self.rates)

    @property
    def _step(self) -> float:
        return self.rates.training(len(self.running), self.tokens)

    def pace(self) -> float | None:
        if self.asked:
            return max(0.0, self.left)
        return max(0.0, self.running[0][0] - self.steps) * self._step if self.running else None

    def progress(self, seconds: float) -> None:
        if self.asked:
            self.left -= seconds
        elif self.running:
            # Where a journal's noise has left nothing for a step, it takes no time: the next trial ends at once.
            self.steps = self.steps + seconds / step if (step := self._step) else self.running[0][0]

    def fire(self) -> None:
        if self.asked:
            asked, self.asked = self.asked, []
            for call in asked:
                self.done(call)
        while self.running and self.running[0][0] <= self.steps + _DONE:
            _, _, call = heapq.heappop(self.running)
            self.tokens -= call.size.tokens / call.size.steps
            self.waiting.append(call)
        self._next()


def asking(trials: Sequence[TrialSize], rates: Rates) -> float:
    """Seconds of asking the questions of these trials together."""
    rows = sum(trial.rows for trial in trials)
    if not rows:
        return 0.0
    prompt = sum(trial.rows * trial.prompt for trial in trials) / rows
    return rates.asking(rows, prompt, max(trial.answer for trial in trials))


class Stream(Worker):
    """Samples with continuous batching: a text joins when there is a place for it, and leaves when it is done.

    With `most` no more are written at once, each of up to `limit` tokens; vLLM takes whatever comes.
    """

    def __init__(self, limit: int, most: int | None, *args: Any) -> None:
        super().__init__(*args)
        self.limit, self.most, self.widest = limit, most, 1.0
        self.queue: deque[Call] = deque()
        self.running: list[tuple[float, int, Call]] = []
        self.rows = 0
        self.steps, self.number = 0.0, 0

    def take(self, call: Call) -> None:
        self.widest = max(self.widest, call.size.prompt + self.limit)
        self.queue.append(call)
        self._join()

    def _join(self) -> None:
        while self.queue and (self.most is None or self.rows < min(self.most, max(1, CACHE_TOKENS // self.widest))):
            call, self.number = self.queue.popleft(), self.number + 1
            size = call.size
            rows, length = (1, size.tokens) if isinstance(size, TextSize) else (size.rows, float(size.answer))
            self.rows += rows
            # Reading the prompts holds everyone up for as long as it takes: so many more steps for this one.
            reading = rows * size.prompt * self.rates.sample_token / self._step
            heapq.heappush(self.running, (self.steps + length + reading, self.number, call))

    @property
    def _step(self) -> float:
        return self.rates.sample_step + self.rows * self.rates.sample_row

    def pace(self) -> float | None:
        return max(0.0, self.running[0][0] - self.steps) * self._step if self.running else None

    def progress(self, seconds: float) -> None:
        self.steps += seconds / self._step

    def fire(self) -> None:
        while self.running and self.running[0][0] <= self.steps + _DONE:
            _, _, call = heapq.heappop(self.running)
            self.rows -= 1 if isinstance(call.size, TextSize) else call.size.rows
            self.done(call)
        self._join()
