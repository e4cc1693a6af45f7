"""A run's journal as plain frozen data for the page. Everything the page says is computed here or called from here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from seal_ray.config import Config, parse
from seal_ray.model.flops import of_trained_token
from seal_ray.record.ending import ending
from seal_ray.record.hints import ADVICE, by_hint
from seal_ray.record.journal import Journal
from seal_ray.record.methods import of_trials
from seal_ray.record.rows import KeptRow, LearntRow, OutcomeRow, PlannedRow, PolicyRow, SelfEditRow, SpanRow
from seal_ray.record.schema import brought_up
from seal_ray.record.storage import Store, below
from seal_ray.record.written import by_round, by_strategy
from seal_ray.report.arms import Arm, arms, sound
from seal_ray.report.best_worst import Pairs, pairs
from seal_ray.report.changed import Change, TaskTable, changes, task_table
from seal_ray.report.cost import Cost, cost
from seal_ray.report.decisions import Puzzles, puzzles
from seal_ray.report.edits import Lookup
from seal_ray.report.failing import Alarm, Failures, alarm, failures
from seal_ray.report.headline import Headline, headline
from seal_ray.report.methods import Measured as Method
from seal_ray.report.methods import methods
from seal_ray.report.missing import missing
from seal_ray.report.points import Points, points
from seal_ray.report.rounds import Round, rounds
from seal_ray.report.sanitize import shown
from seal_ray.report.settings import chosen_by, only_measures, settings
from seal_ray.report.tasks import Tasks
from seal_ray.report.text_stats import Writing, writing
from seal_ray.report.timeline import Timeline, timeline
from seal_ray.report.turns import Left, Turn, left, turns
from seal_ray.types import UserError
from seal_ray.update.base import updates

CONTROL = "control"
"""A run in this folder of the directory is drawn beside the run."""
_OF_OUTCOMES = ["key", "reward", "failure", "reason", "steps", "tokens", "last_loss", "forgotten"]
_OF_EDITS = ["key", "stage", "task_id", "index", "tokens"]


@dataclass(frozen=True)
class Totals:
    trials: int
    failed: int
    trained_tokens: int
    """In trials, and for passages that came in turn."""
    steps: int
    """Of trials; those of passages in turn are not on record."""
    written_tokens: int
    self_edits: int


@dataclass(frozen=True)
class Run:
    """All that the page shows."""

    name: str
    place: str
    settings: tuple[tuple[str, str], ...]
    config: str
    """The whole resolved config as JSON; empty when it is missing."""
    only_measures: bool
    """Whether it has no update, and none is to come."""
    updates: bool
    """Whether its rounds train the policy."""
    chosen_by: str
    """What self-edits are chosen by; empty where that is their reward alone."""
    headline: Headline
    arms: tuple[Arm, ...]
    control: tuple[Arm, ...]
    """The rounds of the control, its untrained policy first."""
    control_rule: str
    void: tuple[tuple[str, str], ...]
    """Measurements whose trials all failed, and why: they are no figures, and drawn nowhere."""
    alarm: Alarm | None
    missing: tuple[str, ...]
    stopped: str
    """Why it stopped before its end, where that is on record."""
    warm_start: PolicyRow | None
    """The policy that the rounds began with, where that is not the base."""
    rounds: tuple[Round, ...]
    written: tuple[Mapping[str, Any], ...]
    """How varied each round's self-edits were, all together and by strategy."""
    strategies: tuple[Mapping[str, Any], ...]
    """What each strategy gained, the most for its tokens first."""
    playbook: tuple[Mapping[str, Any], ...]
    """What each hint gained, the most first."""
    points: Points
    failures: tuple[Failures, ...]
    pairs: Pairs
    held_out: TaskTable
    changes: tuple[Change, ...]
    turns: tuple[Turn, ...]
    left: Left
    methods: tuple[Method, ...]
    timeline: Timeline | None
    cost: Cost | None
    totals: Totals
    writing: tuple[Writing, ...]
    writing_held_out: bool
    puzzles: Puzzles

    @property
    def baselines(self) -> tuple[Arm, ...]:
        return tuple(arm for arm in self.arms if arm.round is None)

    @property
    def policies(self) -> tuple[Arm, ...]:
        return tuple(arm for arm in self.arms if arm.round is not None)


def read_run(directory: str) -> Run:
    """Read a run, finished or not. Texts are cut and made visible; escaping is left to the page."""
    store = Store(directory)
    journal = Journal(store)
    config, text, contents = _config(store)
    tasks = Tasks(config, contents, journal)
    planned, kept, spans = list(journal.read(PlannedRow)), list(journal.read(KeptRow)), list(journal.read(SpanRow))
    outcome_table, edit_table = journal.table("outcomes"), journal.table("self_edits")
    # Texts are many; they are looked up for what is shown of them.
    ended = {row.key: row for row in OutcomeRow.each(outcome_table.select(_OF_OUTCOMES))}
    outcomes = of_trials(ended, planned, journal)
    edits = list(SelfEditRow.each(edit_table.select(_OF_EDITS)))
    look_up = partial(Lookup, edits=edit_table, planned=planned, outcomes=outcome_table, kept=kept, tasks=tasks)
    found = rounds(planned, outcomes, edits, kept, journal.read(PolicyRow))
    every = arms(journal, planned, outcomes)
    measured = sound(every)
    beside, control_rule = _control(directory, store, every)
    void = [arm for arm in (*every, *beside) if arm.measured.void]
    failed = failures(planned, outcomes, look_up, tasks)
    written, held_out = writing(edit_table)
    in_turn, by_method = turns(journal), methods(journal, of_trained_token(config) if config else None)
    lacking = tuple(missing(config, bool(text), every, found))
    return Run(
        name=_name(config),
        place=shown(directory, 300),
        settings=settings(config) if config else (),
        config=text,
        only_measures=config is not None and only_measures(config),
        updates=config is None or updates(config),
        chosen_by=chosen_by(config) if config else "",
        headline=headline(measured, sound(beside), void, in_turn, by_method, config),
        arms=measured,
        control=sound(beside),
        void=tuple((arm.name, shown(arm.measured.reason, 200)) for arm in void),
        alarm=alarm(failed, sum(row.trial in outcomes for row in planned)),
        control_rule=control_rule,
        missing=lacking,
        stopped=_stopped(store) if lacking else "",
        warm_start=next((row for row in journal.read(PolicyRow) if row.version == 0), None),
        rounds=found,
        written=tuple(by_round([journal])),
        strategies=tuple(by_strategy([journal])),
        playbook=tuple({**row, "hint": shown(row["hint"], 250)} for row in by_hint([journal])),
        points=points(found, edits, planned, outcomes),
        failures=failed,
        pairs=pairs(found, edits, look_up, tasks),
        held_out=task_table(measured, tasks),
        changes=changes(measured, planned, look_up, tasks),
        turns=in_turn,
        left=left(journal, in_turn),
        methods=by_method,
        timeline=timeline((shown(row.what, 20), shown(row.worker, 60), row.start, row.end) for row in spans),
        cost=cost(spans, config),
        totals=_totals(list(outcomes.values()), edits, journal.read(LearntRow)),
        writing=written,
        writing_held_out=held_out,
        puzzles=puzzles(tasks, journal, [arm.name for arm in every]),
    )


def _config(store: Store) -> tuple[Config | None, str, Mapping[str, str]]:
    """The recorded config, typed where this version understands it, and as text; and what its sources held."""
    try:
        whole = json.loads(store.read("config.json"))
        tree = whole["config"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, "", {}
    text = shown(json.dumps(tree, indent=2, ensure_ascii=False), 20_000)
    try:
        return parse(brought_up(tree, "config.json"), "config.json"), text, _contents(whole)
    except UserError:
        return None, text, {}


def _contents(tree: Mapping[str, Any]) -> Mapping[str, str]:
    identity = tree.get("identity")
    found = identity.get("contents") if isinstance(identity, dict) else None
    return found if isinstance(found, dict) else {}


def _name(config: Config | None) -> str:
    return f"{shown(config.run.name, 80)}, seed {config.run.seed}" if config else "A run"


def _control(directory: str, store: Store, mine: Sequence[Arm]) -> tuple[tuple[Arm, ...], str]:
    """The measurements of the control, held to the run's own untrained policy where it has none of its own."""
    if not store.exists(f"{CONTROL}/config.json"):
        return (), ""
    beside = Store(below(directory, CONTROL))
    journal = Journal(beside)
    config, *_ = _config(beside)
    outcomes = set(journal.table("outcomes")["key"].to_pylist())
    found = arms(journal, list(journal.read(PlannedRow)), outcomes, mine)
    rule = shown(config.selection.rule, 40) if config else "another rule"
    return tuple(arm for arm in found if arm.round is not None), rule


def _stopped(store: Store) -> str:
    """Why, as a person says it."""
    found = ending(store)
    if found is None:
        return ""
    by = {
        "SIGINT": "Ctrl-C (SIGINT)",
        "SIGTERM": "being told to (SIGTERM)",
        "SIGHUP": "the loss of its terminal (SIGHUP)",
    }
    return f"It was stopped by {by[found.why]}." if found.why in by else f"It stopped: {shown(found.why, 600)}"


def _totals(outcomes: Sequence[OutcomeRow], edits: Sequence[SelfEditRow], passages: Iterable[LearntRow]) -> Totals:
    return Totals(
        trials=len(outcomes),
        failed=sum(row.failure is not None for row in outcomes),
        trained_tokens=sum(row.tokens for row in outcomes) + sum(row.tokens for row in passages),
        steps=sum(row.steps for row in outcomes),
        written_tokens=sum(row.tokens for row in edits),
        self_edits=sum(not row.stage.startswith(ADVICE) for row in edits),
    )
