"""The outer loop: sample self-edits, try them, keep the best, finetune the policy on them; measure; again.

    from seal_ray import config

    from seal_ray.loop import run
    summary = run.run(config.load("jobs/microworld.toml"))

A run lives in one directory. Giving the same config again continues it: what the journal holds is not done
again, and the result is that of an undisturbed run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from seal_ray import grading
from seal_ray.config import Config
from seal_ray.loop.continual import measure_continual
from seal_ray.loop.place import Beside
from seal_ray.loop.preflight import Ready, draw, prepare
from seal_ray.loop.synthetic_questions import with_questions
from seal_ray.loop.trials import TrialRunner
from seal_ray.observe.progress import Progress
from seal_ray.plain import one_line
from seal_ray.policy.store import Policies
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.record.summary import UNTRAINED, Interval, summarize
from seal_ray.rundir import environment
from seal_ray.rundir.directory import begun, claimed
from seal_ray.rundir.keys import Names
from seal_ray.selection.rules import Candidate, Rule, why_none
from seal_ray.stopping import Watch
from seal_ray.types import Task, UserError, content_key, derive_seed
from seal_ray.workers.cluster import RayCluster, Span

logger = logging.getLogger(__name__)


def run(config: Config, progress: Progress, force: bool = False, beside: str = "") -> dict[str, Interval]:
    """Do, or continue, a whole run; returns held-out accuracy per arm.

    What a run in the directory `beside` has done already is taken from there, where it is the very same.
    """
    ready, store = prepare(config), Store(config.dir)  # what cannot work is refused before the directory is touched
    try:
        with claimed(store, config, ready.identity, force) as claim:
            journal = Journal(store, claim.run)
            journal.begin()
            environment.record(store)
            try:
                names = Names.of(ready.identity, claim.since)
                found = _beside(beside, names)
                with Watch(journal.flush, progress.close) as watch:
                    asyncio.run(watch.over(_rounds(ready, store, journal, progress, names, watch, found)))
            finally:
                journal.flush()
            return summarize(journal)
    finally:
        progress.close()


def _beside(directory: str, names: Names) -> Beside:
    """What another run knows; nothing where either calls things by less than all that they depend on."""
    other = begun(directory) if directory else None
    return Beside.of(Journal(Store(directory))) if other and min(other.since, names.since) > 1 else Beside()


async def _rounds(
    ready: Ready, store: Store, journal: Journal, progress: Progress, names: Names, watch: Watch, beside: Beside
) -> None:
    config, domain, rule = ready.config, ready.domain, ready.rule

    async def asked(tasks: Sequence[Task]) -> Sequence[Task]:
        return await with_questions(tasks, domain, config.questions, journal, cluster.ask, progress, names)

    async with (
        RayCluster(config, on_span=lambda span: journal.append("spans", _span_row(span))) as cluster,
        grading.at_work(getattr(domain, "grader", None), cluster.ask),
    ):
        watch.lost = cluster.gone
        runner = TrialRunner(config, domain, cluster, journal, progress, names, beside)
        policies = Policies(config, store, journal, cluster, domain.prompt(ready.held_out[0]), names)
        await policies.use(0)
        held_out = await asked(ready.held_out)
        for round_ in range(1, config.run.rounds + 1):
            drawn = await asked(ready.first if round_ == 1 else draw(config, domain, round_))
            tasks = await runner.unsolved(drawn) if config.domain.skip_solved else drawn
            _, candidates = await asyncio.gather(
                _evaluate(runner, config, held_out), runner.explore(round_, tasks, rule.needs_rewards)
            )
            kept = choose(rule, candidates, config.run.seed, round_)
            journal_kept(journal, kept, round_)
            runner.policy = await policies.next(kept, drawn, progress)
            cluster.rebalance()
        await _evaluate(runner, config, held_out)
        await measure_continual(config, runner, policies, cluster, held_out, progress)


async def _evaluate(runner: TrialRunner, config: Config, held_out: Sequence[Task]) -> None:
    """Measure the policy as it is, on tasks that it never learns from; the baselines once, with the untrained one."""
    untrained = runner.policy == 0
    baselines = config.evaluation.baselines if untrained else ()
    together, arm = config.evaluation.joint, UNTRAINED if untrained else f"after round {runner.policy}"
    measures = [
        runner.measure_joint(name, held_out, with_edits=False)
        if together and name == "passage only"
        else runner.measure_baseline(name, held_out)
        for name in baselines
    ]
    if config.evaluation.samples and (config.evaluation.every_round or runner.policy == config.run.rounds):
        measure = runner.measure_joint(arm, held_out, with_edits=True) if together else runner.measure(arm, held_out)
        measures.append(measure)
    await asyncio.gather(*measures)


def choose(rule: Rule, candidates: dict[str, list[Candidate]], seed: int, round_: int) -> list[Candidate]:
    kept = [c for task, found in candidates.items() for c in rule.choose(found, derive_seed(seed, round_, task))]
    if not kept:
        reason = one_line(why_none([c for found in candidates.values() for c in found]), 600)
        raise UserError(f"round {round_}: {reason}")
    return kept


def journal_kept(journal: Journal, kept: Sequence[Candidate], round_: int) -> None:
    """Put the choice on record, once."""
    known = {row["key"] for row in journal.rows("kept")}
    for c in kept:
        row = {"stage": f"round {round_}", "task_id": c.edit.task_id, "index": c.edit.index, "self_edit": c.edit.key}
        key = content_key(*row.values())
        if key not in known:
            journal.append("kept", {"key": key, "reward": c.reward, **row})


def _span_row(span: Span) -> dict[str, object]:
    row = {"what": span.what, "worker": span.worker, "start": span.start, "end": span.end}
    return {"key": content_key(*row.values()), "stage": "", **row}
