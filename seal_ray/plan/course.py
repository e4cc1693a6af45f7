"""A run as it would go: its own loop, on simulated workers, in virtual time."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from statistics import fmean

from seal_ray.config import Config
from seal_ray.domains.drawing import held_out_tasks
from seal_ray.events import Advanced, Event, Events, StageBegan
from seal_ray.loop.preflight import Ready, first_tasks
from seal_ray.loop.run import rounds
from seal_ray.loop.session import Session
from seal_ray.loop.trials import TrialRunner
from seal_ray.loop.workshop import Workshop
from seal_ray.plan.cluster import Devices, Losses, SimulatedCluster, Work
from seal_ray.plan.rates import Rates
from seal_ray.plan.sizes import Sizes
from seal_ray.plan.standin import Seen, StandIn
from seal_ray.plan.virtual import run_virtually
from seal_ray.policy.store import Policies
from seal_ray.record.intervals import total_length
from seal_ray.record.journal import Journal, R
from seal_ray.record.rows import Row, SpanRow
from seal_ray.record.storage import Store
from seal_ray.rundir.identity import Identity
from seal_ray.rundir.keys import Names
from seal_ray.selection.rules import find_rule
from seal_ray.types import BASE, Policy, SampleRequest, Trial, derive_seed
from seal_ray.update.base import find_update_rule, tries_self_edits
from seal_ray.update.warm_start import warm_start

_LOOKED_AT = 20
"""Tasks of each split whose prompts tell how long prompts are."""

Body = Callable[[Session], Awaitable[None]]


@dataclass(frozen=True)
class Stage:
    """What a stage took, and how many seconds of work all workers did meanwhile; stages overlap."""

    name: str
    pieces: int
    start: float
    end: float
    training: float
    sampling: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Course:
    """How a simulated run went."""

    stages: tuple[Stage, ...]
    seconds: float
    training: float
    """Seconds of work that trainers did, and samplers."""
    sampling: float
    updates: float
    """Seconds in which a policy was trained."""
    trainers: int
    """Workers that were ever started; the pools ask for no more than their queues need."""
    samplers: int
    work: Work
    losses: int
    repeated: int
    """Calls begun again because their worker was lost."""
    driver: float
    """Seconds of the driver's own work."""


class Simulation:
    """Simulates a config's run, any number of times; what is drawn for it is the same each time."""

    def __init__(self, config: Config, seen: Seen | None = None) -> None:
        self._seen = seen
        self._foresees = config.selection.foresee > 0
        # A server that writes questions is not asked for a plan; the base stands in for it. What made-up self-edits
        # earn cannot be foreseen.
        selection, questions = replace(config.selection, foresee=0.0), replace(config.questions, endpoint="")
        self.config = replace(config, questions=questions, selection=selection)
        self.sizes = Sizes(config)
        self.standin = StandIn(config, self.sizes, seen)

    @property
    def assumptions(self) -> list[str]:
        """What a plan assumes of the run itself."""
        config, notes = self.config, [self.sizes.note, *self.standin.assumptions]
        if tries_self_edits(config) and config.run.rounds:
            if config.selection.race:
                notes.append("rewards are as noisy as in published rounds, which decides how long races last")
            else:
                notes.append(f"{self.standin.taught:.0%} of the self-edits teach something")
            if self._foresees:
                notes.append("every self-edit is tried; selection.foresee leaves some out from the second round on")
        if config.grading.name in ("judge", "local judge"):
            notes.append("answers are judged in no time")
        return [note for note in notes if note]

    def context(self) -> float:
        """The usual number of tokens before the next one, while self-edits are written."""
        config, domain, ready = self.config, self.standin.domain, self.ready()
        found = []
        for task in [*ready.first[:_LOOKED_AT], *ready.held_out[:_LOOKED_AT]]:
            prompt, seed = domain.prompt(task), derive_seed("context", task.id)
            text = self.standin.write(SampleRequest(BASE, prompt, seed, max_tokens=config.sampling.max_tokens))
            found.append(self.sizes.prompt(prompt) + text.tokens / 2)
        return fmean(found)

    def smaller(self, most: int) -> Simulation:
        """One round of the same run with `most` tasks of each split at most, and the same share of both."""
        config, ready = self.config, self.ready()
        share = min(1.0, most / max(1, len(ready.first), len(ready.held_out)))
        train, test = (math.ceil(share * len(tasks)) for tasks in (ready.first, ready.held_out))
        test = max(test, config.continual.passages if config.continual.sequences else 1)
        small = replace(
            config,
            domain=replace(config.domain, train=train, test=test),
            run=replace(config.run, rounds=min(1, config.run.rounds)),
            continual=replace(config.continual, sequences=min(1, config.continual.sequences)),
        )
        return Simulation(small, self._seen)

    def work(self) -> Work:
        """What the run will ask of its workers, however fast they are."""
        usual = 1e-3
        return self.course(Rates(*[usual] * 10), Devices(1, 1), "transformers").work

    def ready(self) -> Ready:
        """As `prepare` makes it, without a look at what only a real run needs."""
        config, domain = self.config, self.standin.domain
        held_out = held_out_tasks(config, domain)
        first = first_tasks(config, domain)
        rules = find_rule(config.selection.rule), find_update_rule(config.update)
        return Ready(config, domain, *rules, Identity({}, {}, {}), held_out, first, warm_start(config, domain))

    def course(
        self, rates: Rates, devices: Devices, engine: str, losses: Losses | None = None, body: Body | None = None
    ) -> Course:
        """Simulate the run's rounds, or another thing that is done with a session."""
        ready = self.ready()

        async def whole_run(session: Session) -> None:
            await rounds(session, ready)

        return run_virtually(self._go(rates, devices, engine, losses, body or whole_run))

    async def _go(self, rates: Rates, devices: Devices, engine: str, losses: Losses | None, body: Body) -> Course:
        events = Events(record := Remembered())
        cluster = SimulatedCluster(
            *(self.config, rates, devices, engine, self.standin, self.sizes),
            on_span=lambda span: events.emit(SpanRow.of(span.what, span.worker, span.start, span.end)),
        )
        events.add([watch := _Watch(cluster)])
        if losses:
            cluster.lose_nodes(losses)
        with tempfile.TemporaryDirectory() as folder:
            await body(self._session(cluster, record, events, folder))
        return watch.course()

    def _session(self, cluster: SimulatedCluster, record: Journal, events: Events, folder: str) -> Session:
        config, domain, store, names = self.config, self.standin.domain, Store(folder), _ShortNames()
        shop = Workshop(config, domain, cluster, record, events, names)
        policies = Policies(config, store, record, events, cluster, "", names)
        return Session(**vars(shop), store=store, runner=TrialRunner(shop), policies=policies)


class Remembered(Journal):
    """What a simulated run has on record, for as long as it goes on."""

    def __init__(self) -> None:
        self._found: dict[type[Row], dict[str, Row]] = {}

    def on(self, event: object) -> None:
        if isinstance(event, Row) and not isinstance(event, SpanRow):
            self._found.setdefault(type(event), {}).setdefault(event.key, event)

    def read(self, kind: type[R]) -> Iterator[R]:
        yield from list(self._found.get(kind, {}).values())  # type: ignore[misc]


class _ShortNames(Names):
    """Keys that only tell the rows of one run apart: hashing all that they depend on takes too long for thousands."""

    def self_edit(self, request: SampleRequest, policy: Policy) -> str:
        return f"{policy.name} {request.seed}"

    def trial(self, trial: Trial, policy: Policy, tasks: object) -> str:
        recipe = trial.recipe.key if trial.recipe else ""
        return f"{trial.task_id} {policy.name} {recipe} {trial.seed} {hash((trial.questions, trial.statements))}"

    def planned(self, **where: object) -> str:  # type: ignore[override]
        return " ".join(map(str, where.values()))


class _Watch:
    """Notes when stages begin and end, and how much work workers do meanwhile."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster, self._loop = cluster, asyncio.get_running_loop()
        self._stages: list[Stage] = []
        self._left: dict[str, tuple[int, int]] = {}
        """By a stage's name, its place in the list and the pieces that it still has."""
        self._updates: list[tuple[float, float]] = []

    def on(self, event: Event) -> None:
        match event:
            case StageBegan(name, total) if total:
                self._left[name] = len(self._stages), total
                now = self._loop.time()
                self._stages.append(Stage(name, total, now, now, *self._busy()))
            case Advanced(name, by) if name in self._left:
                place, left = self._left.pop(name)
                if left > by:
                    self._left[name] = place, left - by
                else:
                    self._stages[place] = self._ended(self._stages[place])
            case SpanRow(what="update"):
                self._updates.append((event.start, event.end))

    def close(self) -> None: ...

    def course(self) -> Course:
        cluster = self._cluster
        training, sampling = self._busy()
        for place, _ in self._left.values():
            self._stages[place] = self._ended(self._stages[place])
        return Course(
            stages=tuple(self._stages),
            seconds=self._loop.time(),
            training=training,
            sampling=sampling,
            updates=total_length(self._updates),
            trainers=cluster.trainers.started,
            samplers=cluster.samplers.started,
            work=cluster.work,
            losses=cluster.losses,
            repeated=cluster.trainers.repeated + cluster.samplers.repeated,
            driver=cluster.driver.busy,
        )

    def _ended(self, stage: Stage) -> Stage:
        training, sampling = self._busy()
        done = training - stage.training, sampling - stage.sampling
        return Stage(stage.name, stage.pieces, stage.start, self._loop.time(), *done)

    def _busy(self) -> tuple[float, float]:
        return self._cluster.trainers.busy, self._cluster.samplers.busy
