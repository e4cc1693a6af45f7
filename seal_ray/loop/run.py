"""The outer loop: sample self-edits, try them, keep the best, finetune the policy on them; measure; again.

    from seal_ray import load, run
    summary = run(load("jobs/microworld.toml"))

A run lives in one directory. Giving the same config again continues it: what the journal holds is not done
again, and the result is that of an undisturbed run.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from seal_ray.config import Config
from seal_ray.domains.drawing import training_tasks
from seal_ray.events import Ended, Measured, Observer
from seal_ray.gathering import all_of
from seal_ray.loop.continual import measure_continual
from seal_ray.loop.memory import remembered
from seal_ray.loop.methods import measure_methods, need_skill
from seal_ray.loop.preflight import Ready, drawn_for, prepare
from seal_ray.loop.session import Session, open_run
from seal_ray.loop.synthetic_questions import with_questions
from seal_ray.observe.log import at
from seal_ray.plain import one_line
from seal_ray.record.rows import KeptRow, PlannedRow
from seal_ray.record.summary import Interval, policy_arm, summarize
from seal_ray.rundir.frozen import Frozen
from seal_ray.rundir.growing import Passages
from seal_ray.rundir.identity import must_be_unchanged
from seal_ray.selection.rules import Candidate, Rule, why_none
from seal_ray.types import FinetuneSpec, Policy, Task, UserError, content_key, derive_seed
from seal_ray.update.base import Found, UpdateRule, learns_from_kept


def run(config: Config, *observers: Observer, force: bool = False, beside: str = "") -> dict[str, Interval]:
    """Do, or continue, a whole run; returns held-out accuracy per arm.

    What a run in the directory `beside` has done already is taken from there, where it is the very same.
    """
    return do(prepare(config, force), *observers, force=force, beside=beside)


def do(ready: Ready, *observers: Observer, force: bool = False, beside: str = "") -> dict[str, Interval]:
    """The run that was prepared: what cannot work was refused before its directory is touched."""
    whole = frozen(ready)
    passages = Passages(ready.config, whole.drawn)
    with open_run(ready.config, ready.domain, ready.identity, observers, force, beside, passages) as opened:
        if opened.journal.table(PlannedRow.TABLE).num_rows:
            whole.refuse_other_tasks(opened.store)
        whole.write(opened.store)
        opened.drive(lambda session: rounds(session, ready), probe=ready.domain.prompt(ready.held_out[0]))
        return summarize(opened.journal)


def frozen(ready: Ready) -> Frozen:
    """All that a second run of this one needs."""
    drawn = drawn_for(ready.config, ready.domain, ready.held_out, ready.first)
    return Frozen.here(ready.config, ready.identity, drawn)


async def rounds(session: Session, ready: Ready) -> None:
    """Every round of the run, and what is measured before, between and after them."""
    config, runner, policies = session.config, session.runner, session.policies

    async def asked(tasks: Sequence[Task]) -> Sequence[Task]:
        return await with_questions(session, tasks)

    await stand_on(session, await policies.begin())
    held_out = await asked(ready.held_out)
    if ready.warm_start:
        await all_of(_baselines(session, held_out))  # of the base as it was
        await stand_on(session, await policies.warm(ready.warm_start))
    for round_ in range(1, config.run.rounds + 1):
        with at(round=round_):
            drawn = await asked(_drawn(ready, round_))
            tasks = await runner.unsolved(drawn) if config.domain.skip_solved else drawn
            explored = runner.explore(round_, tasks, with_rewards=ready.needs_rewards)
            _, candidates = await all_of([evaluate(session, held_out, round_ - 1), explored])
            from_kept = learns_from_kept(ready.update_rule)
            kept = choose(ready.rule, candidates, config.run.seed, round_, or_stop=from_kept, directory=config.dir)
            put_kept_on_record(session, kept, round_)
            found = Found(candidates, tuple(kept), drawn)
            finetune = requested(ready.update_rule, found, config, round_)
            if finetune:
                learnt = len(kept if from_kept else finetune.examples)
                await stand_on(session, await policies.next(runner.policy, finetune, learnt), round_)
            session.cluster.rebalance()
    await evaluate(session, held_out, config.run.rounds)
    training = await asked(ready.first) if need_skill(config) else ()
    await measure_methods(session, held_out, training)
    await measure_continual(session, held_out)
    session.events.emit(Ended())


def _drawn(ready: Ready, round_: int) -> Sequence[Task]:
    """A round's tasks, from the source as it was when the run began, whoever has written to it since."""
    if round_ == 1 or not ready.config.domain.fresh:
        return ready.first
    drawn = training_tasks(ready.config, ready.domain, round_)
    must_be_unchanged(ready.identity, ready.domain)
    return drawn


async def stand_on(session: Session, policy: Policy, made_by: int = 0) -> None:
    """From now on trials start from this policy, which so many rounds made, and are held to what was known there."""
    runner = session.runner
    runner.policy, runner.made_by, runner.memory = policy, made_by, await remembered(session, policy)


async def evaluate(session: Session, held_out: Sequence[Task], rounds_done: int) -> None:
    """Measure the policy as it is, on tasks that it never learns from; the baselines once, before anything is learnt.

    One that a round has left as it was is not measured again.
    """
    config, runner = session.config, session.runner
    version = runner.policy.version
    new, joint, arm = runner.made_by == rounds_done, config.evaluation.joint, policy_arm(version)
    measures = _baselines(session, held_out) if rounds_done == 0 and not config.update.warm_start else []
    if config.evaluation.samples and (new if config.evaluation.every_round else rounds_done == config.run.rounds):
        measure = runner.measure_joint(arm, held_out, with_edits=True) if joint else runner.measure(arm, held_out)
        measures.append(measure)
    await all_of(measures)
    if new or measures:
        session.events.emit(Measured(version))


def _baselines(session: Session, held_out: Sequence[Task]) -> list[Coroutine[None, None, None]]:
    """The measurements of the baselines, under the policy as it is."""
    runner, evaluation = session.runner, session.config.evaluation
    return [
        runner.measure_joint(name, held_out, with_edits=False)
        if evaluation.joint and name == "passage only"
        else runner.measure_baseline(name, held_out)
        for name in evaluation.baselines
    ]


def requested(rule: UpdateRule, found: Found, config: Config, round_: int) -> FinetuneSpec | None:
    """What a round's policy is finetuned on."""
    asked: object = rule.request(found, config.update, derive_seed(config.run.seed, "update", round_))
    if asked is None or (isinstance(asked, FinetuneSpec) and asked.examples):
        return asked
    wanted = "a FinetuneSpec with examples is wanted, as `finetune` of seal_ray.update.base makes it, or None"
    raise UserError(f"update.rule {config.update.rule!r}: its `request` gave {one_line(repr(asked), 80)}; {wanted}")


def choose(
    rule: Rule,
    candidates: dict[str, list[Candidate]],
    seed: int,
    round_: int,
    or_stop: bool = True,
    directory: str = "DIR",
) -> list[Candidate]:
    """The self-edits of a round that the rule keeps. `UserError` where it keeps none, unless `or_stop` is false."""
    kept = [c for task, found in candidates.items() for c in _chosen(rule, found, derive_seed(seed, round_, task))]
    if not kept and or_stop:
        reason = one_line(why_none([c for found in candidates.values() for c in found], directory), 600)
        raise UserError(f"round {round_}: {reason}")
    return kept


def _chosen(rule: Rule, found: Sequence[Candidate], seed: int) -> list[Candidate]:
    """What the rule keeps of a task's candidates, and nothing else, whatever one of the user's own does to the list."""
    given: Any = rule.choose([*found], seed)
    kept: list[Candidate] = [*given] if isinstance(given, Iterable) else [given]
    if wrong := [each for each in kept if each not in found]:
        said = f"chose {one_line(repr(wrong[0]), 80)}, which is no candidate of {found[0].edit.task_id}"
        raise UserError(f"selection.rule: {said}; a list of some of the candidates is wanted")
    return kept


def put_kept_on_record(session: Session, kept: Sequence[Candidate], round_: int) -> None:
    """Record the choice, once. `UserError` where a user's own rule or reward chose otherwise before."""
    stage, chosen = f"round {round_}", session.config.selection
    known = {row.key for row in session.journal.read(KeptRow) if row.stage == stage}
    rows = []
    for c in kept:
        edit = c.edit
        key = content_key(stage, edit.task_id, edit.index, edit.key)
        rows.append(KeptRow(key, stage, edit.task_id, edit.key, edit.index, c.reward))
    if known - {row.key for row in rows} and (":" in chosen.rule or chosen.reward.own):
        raise UserError(
            f"{stage}: other self-edits were kept before than now, so selection.rule or selection.reward.own depends "
            "on more than what it is given; mend it, and begin another run"
        )
    for row in rows:
        if row.key not in known:
            session.events.emit(row)
