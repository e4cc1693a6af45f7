"""A run's journal as plain frozen data for the page. Everything the page says is computed here or called from here."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from seal_ray.config import Config, parse
from seal_ray.plain import counted
from seal_ray.record.journal import Journal
from seal_ray.record.rows import KeptRow, OutcomeRow, PlannedRow, PolicyRow, SelfEditRow, SpanRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import UNTRAINED, Interval, figure, interval, measured, synthetic
from seal_ray.report.best_worst import Pairs, pairs
from seal_ray.report.decisions import Puzzles, puzzles
from seal_ray.report.rounds import Failures, Round, failures, rounds
from seal_ray.report.sanitize import shown
from seal_ray.report.text_stats import Writing, writing
from seal_ray.report.timeline import Timeline, timeline
from seal_ray.types import UserError

CONTROL = "control"
"""A run in this folder of the directory is drawn beside the run."""


@dataclass(frozen=True)
class Arm:
    """One held-out measurement."""

    name: str
    round: int | None
    """0 for the untrained policy, None for a baseline."""
    measured: Interval
    gain: Interval | None
    """The gain over untrained self-edits, task by task; None where the two share no task."""
    pending: int
    """Trials planned and not yet ended."""


@dataclass(frozen=True)
class Totals:
    trials: int
    failed: int
    trained_tokens: int
    steps: int
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
    arms: tuple[Arm, ...]
    control: tuple[Arm, ...]
    """The rounds of the control, its untrained policy first."""
    control_rule: str
    void: tuple[tuple[str, str], ...]
    """Measurements whose trials all failed, and why: they are no figures, and drawn nowhere."""
    missing: tuple[str, ...]
    rounds: tuple[Round, ...]
    failures: tuple[Failures, ...]
    pairs: Pairs
    timeline: Timeline | None
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
    config, text = _config(store)
    planned = list(journal.read(PlannedRow))
    outcome_table, edit_table = journal.table("outcomes"), journal.table("self_edits")
    # Texts are many; they are looked up for what is shown of them.
    few = outcome_table.select(["key", "reward", "failure", "reason", "steps", "tokens", "forgotten"])
    outcomes = {row.key: row for row in OutcomeRow.each(few)}
    edits = list(SelfEditRow.each(edit_table.select(["key", "stage", "tokens"])))
    found = rounds(planned, outcomes, edits, journal.read(KeptRow), journal.read(PolicyRow))
    arms = _arms(journal, planned, outcomes)
    beside = below(directory, CONTROL)
    control, control_rule = _control(Store(beside)) if store.exists(f"{CONTROL}/config.json") else ((), "")
    written, held_out = writing(edit_table)
    return Run(
        name=_name(config),
        place=shown(directory, 300),
        settings=_settings(config) if config else (),
        config=text,
        arms=_sound(arms),
        control=_sound(control),
        void=tuple((arm.name, shown(arm.measured.reason, 200)) for arm in (*arms, *control) if arm.measured.void),
        control_rule=control_rule,
        missing=tuple(_missing(config, bool(text), arms, found)),
        rounds=found,
        failures=failures(planned, outcomes),
        pairs=pairs(found, edit_table, planned, outcome_table),
        timeline=_timeline(journal.read(SpanRow)),
        totals=_totals(list(outcomes.values()), edits),
        writing=written,
        writing_held_out=held_out,
        puzzles=puzzles(config, journal, [arm.name for arm in arms]),
    )


def _config(store: Store) -> tuple[Config | None, str]:
    """The recorded config, typed where this version understands it, and as text."""
    try:
        tree = json.loads(store.read("config.json"))["config"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""
    text = shown(json.dumps(tree, indent=2, ensure_ascii=False), 20_000)
    try:
        return parse(tree, "config.json"), text
    except UserError:
        return None, text


def _name(config: Config | None) -> str:
    return f"{shown(config.run.name, 80)}, seed {config.run.seed}" if config else "A run"


def _settings(config: Config) -> tuple[tuple[str, str], ...]:
    """The settings that a reader wants first; the rest is in the whole config."""
    trial, update, sampling, selection = config.trial, config.update, config.sampling, config.selection
    race = f", {selection.race} raced trials a task" if selection.race else f", {counted(trial.seeds, 'seed')} each"
    found = (
        ("Model", f"{config.model.path}, {config.model.dtype}"),
        ("Tasks", f"{config.domain.name}: {config.domain.train or 'all'} to learn from a round, "
                  f"{config.domain.test or 'all'} held out"),
        ("Self-edits", f"{sampling.per_task} a task at temperature {sampling.temperature:g}{race}"),
        ("Trials", f"LoRA of rank {trial.lora.rank}, learning rate {trial.optim.lr:g}, "
                   f"{counted(trial.optim.epochs, 'epoch')}, from the {trial.start}"),
        ("Update", f"LoRA of rank {update.lora.rank}, learning rate {update.optim.lr:g}, "
                   f"{counted(update.optim.epochs, 'epoch')}"
                   + (f", held to its answers with weight {update.kl_coef:g}" if update.kl_coef else "")),
        ("Rounds", f"{config.run.rounds}, kept by the rule “{selection.rule}”"),
    )  # fmt: skip
    return tuple((label, shown(value, 300)) for label, value in found)


def _arms(journal: Journal, planned: Sequence[PlannedRow], outcomes: Container[str]) -> tuple[Arm, ...]:
    """Baselines as they were begun, then the policy from untrained to last."""
    measures = measured(journal)
    waiting = Counter(row.arm for row in planned if row.stage == "evaluation" and row.trial not in outcomes)
    first, written = measures.get(UNTRAINED), synthetic(journal)
    untrained = first.of_task if first and not figure([first]).void else {}
    found = []
    for name, measure in measures.items():
        mean = figure([measure], len(written & measure.rewards.keys()))
        gains = [reward - untrained[task] for task, reward in measure.of_task.items() if task in untrained]
        gain = interval(gains) if gains and name != UNTRAINED else None
        found.append(Arm(shown(name, 60), _arm_round(name), mean, gain, waiting[name]))
    return tuple(sorted(found, key=lambda arm: -1 if arm.round is None else arm.round))


def _sound(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    return tuple(arm for arm in arms if not arm.measured.void)


def _arm_round(name: str) -> int | None:
    after = re.fullmatch(r"after round (\d+)", name)
    return int(after[1]) if after else 0 if name == UNTRAINED else None


def _control(store: Store) -> tuple[tuple[Arm, ...], str]:
    journal = Journal(store)
    config, _ = _config(store)
    outcomes = set(journal.table("outcomes")["key"].to_pylist())
    arms = _arms(journal, list(journal.read(PlannedRow)), outcomes)
    rule = shown(config.selection.rule, 40) if config else "another rule"
    return tuple(arm for arm in arms if arm.round is not None), rule


def _missing(config: Config | None, has_text: bool, arms: Sequence[Arm], found: Sequence[Round]) -> list[str]:
    """One sentence for everything that a finished run has and this one does not."""
    lines: list[str] = []
    if not has_text:
        lines.append("The run's config.json is missing or cannot be read, so its settings are not shown.")
    elif config is None:
        lines.append("The run's config was written by another version; only its text is shown.")
    if not arms:
        lines.append("No held-out task has been measured yet.")
    lines += [
        f"Evaluation “{arm.name}”: {counted(arm.pending, 'trial')} planned and not yet ended."
        for arm in arms
        if arm.pending
    ]
    lines += [
        f"Round {r.number}: {r.pending:,} of {counted(r.trials, 'planned trial')} not yet ended."
        for r in found
        if r.pending
    ]
    if config is None:
        return lines
    updated = {r.number for r in found if r.policy}
    begun = {r.number for r in found}
    for number in range(1, config.run.rounds + 1):
        if number not in updated:
            lines.append(f"Round {number} has {'no update yet' if number in begun else 'not begun'}.")
    if config.evaluation.samples and arms:
        measured = {arm.round for arm in arms}
        lines += [
            f"The {f'policy after round {number}' if number else 'untrained policy'} has not been measured."
            for number in range(config.run.rounds + 1)
            if number not in measured and (number in updated or number == 0)
        ]
    return lines


def _timeline(spans: Iterable[SpanRow]) -> Timeline | None:
    return timeline((shown(row.what, 20), shown(row.worker, 60), row.start, row.end) for row in spans)


def _totals(outcomes: Sequence[OutcomeRow], edits: Sequence[SelfEditRow]) -> Totals:
    return Totals(
        len(outcomes),
        sum(row.failure is not None for row in outcomes),
        sum(row.tokens for row in outcomes),
        sum(row.steps for row in outcomes),
        sum(row.tokens for row in edits),
        len(edits),
    )


def below(directory: str, name: str) -> str:
    """A file or folder in a run's directory; the options of an object storage's URL stay at its end."""
    place, mark, options = directory.partition("?") if "://" in directory else (directory, "", "")
    return f"{place.rstrip('/')}/{name}{mark}{options}"
