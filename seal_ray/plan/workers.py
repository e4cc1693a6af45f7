"""The run's workers, simulated: the bank that trains and asks, and the engines that sample."""

from __future__ import annotations

import heapq
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from seal_ray.plan.clock import Clock, Device, Machine
from seal_ray.plan.rates import Rates
from seal_ray.plan.work import Edit, Try

BATCH, GATHER = 64, 0.02
"""Of the engine that samples in batches, as in `seal_ray.workers.engines.transformers`."""
_DONE = 1e-6  # steps that rounding may leave


@dataclass(eq=False)
class Call:
    """Something asked of a pool, and what follows when it is done."""

    job: Any
    then: Callable[[], None]
    lost: int = 0


class Worker(Machine):
    """Takes calls and says of each when it is done."""

    def __init__(self, clock: Clock, device: Device, rates: Rates, done: Callable[[Worker, Call], None]) -> None:
        super().__init__(clock, device)
        self.rates, self.done = rates, done
        self.load = 0
        self.calls: dict[Call, None] = {}

    def put(self, call: Call) -> None:
        self.settle()
        self.calls[call] = None
        self.take(call)
        self.reschedule()

    def take(self, call: Call) -> None:
        raise NotImplementedError

    def finish(self, call: Call) -> None:
        del self.calls[call]
        self.done(self, call)


class Bank(Worker):
    """Slots that train side by side, step by step, refilled as they finish; asking goes in batches between."""

    def __init__(self, slots: int, *args: Any) -> None:
        super().__init__(*args)
        self.slots = slots
        self.queue: deque[Call] = deque()
        self.running: list[tuple[float, int, Call]] = []
        """Each with the step, of all this bank's, at which it has done its own."""
        self.tokens = 0.0
        """Of all running slots in one step."""
        self.steps, self.number = 0.0, 0
        self.waiting: list[Call] = []
        self.asked: list[Call] = []
        self.left = 0.0

    def take(self, call: Call) -> None:
        if call.job.steps:
            insort(self.queue, call, key=lambda queued: -queued.job.steps)
        else:
            self.waiting.append(call)
        self._next()

    def _next(self) -> None:
        if self.asked:
            return
        while self.queue and len(self.running) < self.slots:
            call = self.queue.popleft()
            self.number += 1
            heapq.heappush(self.running, (self.steps + call.job.steps, self.number, call))
            self.tokens += call.job.tokens / call.job.steps
        if len(self.waiting) >= self.slots or (self.waiting and not self.running):
            self.asked, self.waiting = self.waiting[: self.slots], self.waiting[self.slots :]
            self.left = asking([call.job for call in self.asked], self.rates)

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
            self.steps += seconds / self._step

    def fire(self) -> None:
        if self.asked:
            asked, self.asked = self.asked, []
            for call in asked:
                self.finish(call)
        while self.running and self.running[0][0] <= self.steps + _DONE:
            _, _, call = heapq.heappop(self.running)
            self.tokens -= call.job.tokens / call.job.steps
            self.waiting.append(call)
        self._next()


def asking(tries: Sequence[Try], rates: Rates) -> float:
    rows = sum(job.rows for job in tries)
    if not rows:
        return 0.0
    prompt = sum(job.rows * job.prompt for job in tries) / rows
    return rates.asking(rows, prompt, max(job.answer for job in tries))


class Batches(Worker):
    """Samples whoever waits, up to a batch, until the longest text is done; then the next."""

    def __init__(self, limit: int, *args: Any) -> None:
        super().__init__(*args)
        self.limit = limit
        self.queue: deque[Call] = deque()
        self.batch: list[Call] = []
        self.left: float | None = None

    def take(self, call: Call) -> None:
        self.queue.append(call)
        if self.left is None:
            self.left = GATHER

    def pace(self) -> float | None:
        return None if self.left is None else max(0.0, self.left)

    def progress(self, seconds: float) -> None:
        if self.left is not None:
            self.left -= seconds

    def fire(self) -> None:
        done, self.batch = self.batch, [self.queue.popleft() for _ in range(min(BATCH, len(self.queue)))]
        jobs: list[Edit] = [call.job for call in self.batch]
        lengths, prompts = [job.sampled for job in jobs], [job.prompt for job in jobs]
        self.left = self.rates.sampling(lengths, prompts, self.limit) if jobs else None
        for call in done:
            self.finish(call)


class Stream(Worker):
    """Samples with continuous batching: a text joins when it comes and leaves when it is done."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.running: list[tuple[float, int, Call]] = []
        self.rows = 0
        self.steps, self.number = 0.0, 0

    def take(self, call: Call) -> None:
        job, self.number = call.job, self.number + 1
        rows, length, prompt = (1, job.sampled, job.prompt) if isinstance(job, Edit) else _asked(job)
        self.rows += rows
        # Reading the prompts holds everyone up for as long as it takes: so many more steps for this one.
        reading = rows * prompt * self.rates.sample_token / self._step
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
            self.rows -= 1 if isinstance(call.job, Edit) else call.job.rows
            self.finish(call)


def _asked(job: Try) -> tuple[int, float, float]:
    return job.rows, float(job.answer), job.prompt
