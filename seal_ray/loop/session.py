"""An open run: what it is, what it has on record, who watches, and the workers that go on with it.

    with open_run(config, domain, identity, observers) as opened:
        opened.drive(body)  # an async function of a `Session`

Everything that is done with a run (its rounds, the search for the best decision, a loop of one's own) is such a body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from seal_ray import grading
from seal_ray.config import Config
from seal_ray.domains.base import Domain
from seal_ray.events import Events, Observer
from seal_ray.gathering import to_its_end
from seal_ray.loop.place import Beside
from seal_ray.loop.trials import TrialRunner
from seal_ray.loop.workshop import Workshop
from seal_ray.observe.log import RunLog, logged
from seal_ray.observe.observers import named
from seal_ray.policy.store import Policies
from seal_ray.record import environment
from seal_ray.record.ending import note, noted
from seal_ray.record.journal import Journal
from seal_ray.record.rows import SpanRow
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import begun, claimed
from seal_ray.rundir.growing import Passages
from seal_ray.rundir.identity import Identity, graded_alike
from seal_ray.rundir.keys import Names
from seal_ray.stopping import Watch
from seal_ray.types import Prompt
from seal_ray.workers.base import open_cluster
from seal_ray.workers.rebalance import Span


@dataclass(frozen=True)
class OpenRun:
    """A run whose directory is held and whose record can be written; nothing is started yet."""

    config: Config
    domain: Domain
    store: Store
    journal: Journal
    events: Events
    names: Names
    beside: Beside
    log: RunLog

    def drive(self, body: Callable[[Session], Awaitable[None]], probe: Prompt) -> None:
        """Start the workers and do this; a signal, or the loss of the cluster, ends it in good order.

        `probe` is a prompt by which workers that load a policy in a way of their own are checked.
        """

        def save() -> None:
            self.journal.flush()
            note(self.store, watch.why)

        def hush() -> None:
            self.log.alone = True  # "stopped" is the last that a person reads
            self.events.close()

        with Watch(save, hush) as watch:
            to_its_end(watch.over(self._with_workers(body, probe, watch)))

    async def _with_workers(self, body: Callable[[Session], Awaitable[None]], probe: Prompt, watch: Watch) -> None:
        async with (
            open_cluster(self.config, self._note) as cluster,
            grading.at_work(grading.grader_of(self.domain), cluster.ask),
        ):
            watch.lost = cluster.gone
            config, journal, events, names = self.config, self.journal, self.events, self.names
            shop = Workshop(config, self.domain, cluster, journal, events, names, self.beside)
            policies = Policies(config, self.store, journal, events, cluster, probe, names)
            await body(Session(**vars(shop), store=self.store, runner=TrialRunner(shop), policies=policies))

    def _note(self, span: Span) -> None:
        self.events.emit(SpanRow.of(span.what, span.worker, span.start, span.end))


@dataclass(frozen=True, kw_only=True)
class Session(Workshop):
    """An open run with its workers up."""

    store: Store
    runner: TrialRunner
    policies: Policies


@contextmanager
def open_run(
    config: Config,
    domain: Domain,
    identity: Identity,
    observers: Sequence[Observer] = (),
    force: bool = False,
    beside: str = "",
    passages: Passages | None = None,
) -> Iterator[OpenRun]:
    """Hold the run's directory and go on with its record; at the end everything is on disk and observers are closed.

    What a run in the directory `beside` has done already is taken from there, where it is the very same. A run that
    had the first of these passages in turn goes on with all of them.
    """
    store, events = Store(config.dir), Events(observers=observers)
    other = _beside(beside, identity)  # before it is moved aside, where it is this directory
    with logged(config) as log:
        try:
            with claimed(store, config, identity, force, passages) as claim:
                log.begin(store)
                journal = events.record = Journal(store, claim.run)
                journal.begin()
                environment.record(store)
                events.add(named(config, store, journal))
                names = Names.of(identity, claim.since)
                with noted(store):
                    try:
                        taken = other if names.since > 1 else Beside()
                        yield OpenRun(config, domain, store, journal, events, names, taken, log)
                    finally:
                        journal.flush()
        finally:
            events.close()


def _beside(directory: str, identity: Identity) -> Beside:
    """What another run has on record; nothing where it is so old that its keys do not tell all."""
    other = begun(directory) if directory else None
    if other is None or other.since == 1:
        return Beside()
    return Beside.of(Journal(Store(directory)), graded_alike(other.identity, identity))
