"""What all that watches a run takes of its driver: processor time of both, over many trials that nobody trains.

python -m benchmarks observers

Tasks, self-edits, trials, journal and observers are a run's own; workers answer at once, in the same process. What Ray
takes of a driver is not counted with it, so the share is rather too large. Nor is the collection of garbage, which
falls on whoever happens to be at work.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from seal_ray.config import load
from seal_ray.domains.registry import load_domain
from seal_ray.events import Ended, Event, Events
from seal_ray.loop.trials import TrialRunner
from seal_ray.loop.workshop import Workshop
from seal_ray.observe import observers as by_name
from seal_ray.observe.log import RunLog, logged
from seal_ray.observe.outlet import Outlet
from seal_ray.observe.progress import LogProgress
from seal_ray.observe.trackers import Trackers
from seal_ray.record.journal import Journal
from seal_ray.record.rows import SpanRow
from seal_ray.record.storage import Store
from seal_ray.types import Completion, Outcome, SampleRequest, Trial
from seal_ray.workers.metrics import RunMetrics

_ROUNDS = 10


@dataclass(frozen=True)
class Found:
    trials: int
    driver: float
    """Seconds of processor time of the whole process, observers among it, but for what they open once."""
    observers: dict[str, float]
    opening: float
    """What importing and opening the trackers takes, once."""

    @property
    def share(self) -> float:
        return sum(self.observers.values()) / self.driver

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "share": self.share}


class Idle:
    """An observer that does nothing: what it is measured to take is what measuring takes."""

    def on(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Meter:
    """Processor time of calls by who is called; of one within another, the outer one's."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._calls: Counter[str] = Counter()
        self._inside = threading.local()
        self._stack = ExitStack()

    def measure(self, owner: type, method: str, name: str) -> None:
        """Count this method's time under `name`."""
        whole: Callable[..., Any] = getattr(owner, method)

        def timed(*given: Any, **named: Any) -> Any:
            if getattr(self._inside, "busy", False):
                return whole(*given, **named)
            start, self._inside.busy = time.thread_time(), True
            try:
                return whole(*given, **named)
            finally:
                self.seconds[name] += time.thread_time() - start
                self._calls[name] += 1
                self._inside.busy = False

        self._stack.enter_context(mock.patch.object(owner, method, timed))

    def net(self) -> dict[str, float]:
        """Seconds by name, less what measuring takes, which is as much for each call."""
        each = self.seconds["idle"] / self._calls["idle"]
        return {
            name: self.seconds[name] - each * calls for name, calls in sorted(self._calls.items()) if name != "idle"
        }

    def close(self) -> None:
        self._stack.close()


class AtOnce:
    """Workers that answer as soon as they are asked, as a cluster on Ray counts it."""

    def __init__(self, events: Events) -> None:
        self._events, self.metrics = events, RunMetrics("bench-1")

    async def sample(self, request: SampleRequest) -> Completion:
        text = f"Felo Fovic: town Ostby, pet falcon {request.seed}."
        return self.metrics.sampled(self._done("sample", Completion(text, 29, finished=True, worker="sampler")))

    async def run_trial(self, trial: Trial) -> Outcome:
        answers = ("Ostby",) * len(trial.questions)
        outcome = Outcome(trial.key, answers=answers, steps=15, tokens=480 if trial.recipe else 0, worker="trainer")
        return self.metrics.tried(self._done("trial", outcome))

    def _done(self, what: str, answer: Any) -> Any:
        now = time.time()
        self.metrics.took(what, 1.0)
        self._events.emit(SpanRow.of(what, answer.worker, now - 1.0, now))
        return answer


def measure(trials: int = 10_000) -> Found:
    """Everything on: a file of JSON lines, TensorBoard, progress as lines, the log, and Ray's metrics."""
    with tempfile.TemporaryDirectory() as folder, _metered() as meter:
        more = ["--run.dir", f"{folder}/run", "--run.observers", '["jsonl", "tensorboard"]', "--trial.seeds", "2"]
        config = load("jobs/microworld.toml", [*more, "--sampling.per_task", "12"])
        domain, store = load_domain(config), Store(config.dir)
        with logged(config) as log:
            log.begin(store)
            journal = Journal(store)
            journal.begin()
            events = Events(journal, [LogProgress(), *by_name.named(config, store, journal), Idle()])
            workers = AtOnce(events)
            runner = TrialRunner(Workshop(config, domain, workers, journal, events))  # type: ignore[arg-type]
            tasks, start = trials // (25 * _ROUNDS), time.process_time()

            async def rounds() -> None:
                for round_ in range(1, _ROUNDS + 1):
                    await runner.explore(round_, domain.tasks("train", tasks, round_), with_rewards=True)
                    workers.metrics.tell()  # a round of as many trials lasts a few times as long as a run waits

            gc.disable()
            try:
                asyncio.run(rounds())
            finally:
                gc.enable()
            journal.flush()
            events.emit(Ended())
            events.close()
        spent = time.process_time() - start
    opening = meter.seconds["opening"]
    return Found(25 * tasks * _ROUNDS, spent - opening, meter.net(), opening)


@contextmanager
def _metered() -> Iterator[Meter]:
    meter, quiet = Meter(), logging.getLogger("seal_ray")
    silent = logging.NullHandler()
    quiet.addHandler(silent)
    sinks = mock.patch.object(by_name, "_late", lambda name, late=by_name._late: _opened(meter, late(name)))
    try:
        meter.measure(LogProgress, "on", "progress")
        meter.measure(Idle, "on", "idle")
        meter.measure(RunLog, "handle", "log")
        for method in ("tried", "sampled", "took", "tell"):
            meter.measure(RunMetrics, method, "metrics")
        for owner, method in ((Trackers, "on"), (Trackers, "_saved"), (Outlet, "_work")):
            meter.measure(owner, method, "trackers")
        with sinks:
            yield meter
    finally:
        meter.close()
        quiet.removeHandler(silent)


def _opened(meter: Meter, sink: Callable[..., Any]) -> Callable[..., Any]:
    def opened(run: Any) -> Any:
        start = time.thread_time()
        try:
            return sink(run)
        finally:
            spent = time.thread_time() - start
            meter.seconds["opening"] += spent
            meter.seconds["trackers"] -= spent

    return opened


def show(found: Found, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found.as_json()))
        return
    print("\n".join(_lines(found)))


def _lines(found: Found) -> Sequence[str]:
    each = {name: f"{1000 * seconds / found.trials:.3f} ms a trial" for name, seconds in found.observers.items()}
    return [
        f"driver, with all that watches: {1000 * found.driver / found.trials:.3f} ms of processor time a trial, "
        f"over {found.trials} trials",
        *(f"  {name:10} {said}" for name, said in each.items()),
        f"share of what watches: {found.share:.1%}; opening trackers takes {found.opening:.1f} s, once",
    ]
