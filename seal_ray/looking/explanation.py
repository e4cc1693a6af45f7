"""One trial in words: what it was, what it trained, what it was asked and answered, and what became of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import count as count_from
from typing import Any

from seal_ray.config import Reward
from seal_ray.looking.explained import Explained, trains_nothing
from seal_ray.looking.words import NOTHING, fitted, percent
from seal_ray.loop.place import filled
from seal_ray.plain import counted, visible
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.rows import prompt_text as recorded_text
from seal_ray.record.written import round_number
from seal_ray.report.sanitize import prompt_text
from seal_ray.selection.reward import ChosenBy
from seal_ray.types import Prompt, Recipe, SelfEdit, UserError
from seal_ray.update.base import find_update_rule, learns_from_kept
from seal_ray.update.warm_start import WARM_START

_PLACE = ("stage", "arm", "task_id", "index", "replicate")
_SPARE = ("stage", "index", "replicate")


def rows(trials: Mapping[str, Sequence[PlannedRow]], outcomes: Mapping[str, OutcomeRow]) -> list[dict[str, Any]]:
    """Trials by the place that wanted each first, and what came of them; nothing of the place where no task did."""
    return [_row(key, places, outcomes.get(key)) for key, places in trials.items()]


def _row(key: str, places: Sequence[PlannedRow], outcome: OutcomeRow | None) -> dict[str, Any]:
    place = {name: getattr(places[0], name) if places else None for name in _PLACE}
    came = {"reward": outcome.reward, "failure": outcome.failure} if outcome else {"reward": None, "failure": None}
    return {"trial": key, **place, **came, "ended": outcome is not None}


def table(trials: Sequence[Mapping[str, Any]], width: int | None = None) -> list[str]:
    """The rows as lines; for a terminal of this width, keys are cut to as many characters as tell them apart."""
    shown = [_cells(row) for row in trials]
    if width is not None:
        cut = _enough([row[0] for row in shown])
        shown = [[row[0][:cut], *row[1:]] for row in shown]
    return fitted([("trial", *_PLACE, "reward", "failure"), *shown], _SPARE, width)


def _enough(keys: Sequence[str]) -> int:
    """How many characters tell these keys apart, eight at least."""
    return next(count for count in count_from(8) if len({key[:count] for key in keys}) == len(set(keys)))


def _cells(row: Mapping[str, Any]) -> list[str]:
    place = ["" if row[name] is None else str(row[name]) for name in _PLACE]
    came = [percent(row["reward"]), row["failure"] or ""] if row["ended"] else ["not ended", ""]
    return [row["trial"], *place, *came]


def lines(directory: str, found: Explained) -> list[str]:
    """All that is known, as lines for a person; control characters that a model wrote are made visible."""
    said = [f"trial {found.key}", *_task(found), *_places(found), *_trained(found), *_came(found), *_answers(found)]
    said.append(f"again: not here: {why}" if (why := found.hindrance) else f"again: {command(directory, found.key)}")
    return [visible(line) for line in said]


def command(directory: str, key: str) -> str:
    """What does this trial again, alone."""
    return shlex.join(["seal-ray", "explain", directory, key, "--again"])


def as_json(directory: str, found: Explained) -> dict[str, Any]:
    """The same for a program."""
    return {
        "key": found.key,
        "task": {"id": found.task.id, "title": found.task.title} if found.task else None,
        "places": [asdict(row) for row in found.places],
        "self_edit": asdict(found.edit) if found.edit else None,
        "kept": found.kept,
        "recipe": asdict(found.recipe) if found.recipe else None,
        "questions": [shown(question) for question in found.questions],
        "gold": _gold(found),
        "before": asdict(found.before) if found.before else None,
        "before_by": found.before_by,
        "outcome": asdict(found.outcome) if found.outcome else None,
        "unknown": found.note,
        "again": command(directory, found.key) if not found.hindrance else None,
    }


def shown(prompt: Prompt) -> str:
    """A prompt as one text."""
    return prompt_text(recorded_text(prompt))


def _task(found: Explained) -> Iterator[str]:
    if found.task:
        yield f"task: {found.task.title} ({found.task.id})"
    elif found.places:
        yield f"task: {found.place.task_id}"
    if found.note:
        yield f"note: {found.note}"


def _places(found: Explained) -> Iterator[str]:
    for row in found.places:
        warm = found.config.update.warm_start and not found.of_base
        begun = f"the policy of the {WARM_START}" if warm else "the untrained policy"
        policy = f"policy {row.policy}" if row.policy else begun
        edit = f", {'self-edit' if found.edit else 'number'} {row.index}" if found.edit or row.index else ""
        yield f"wanted by: {row.stage}, {row.arm}{edit}, seed {row.replicate}, under {policy}"
        number = round_number(row.stage)
        if number is not None:
            learnt = f"for the update of round {number}" if _learns_from_kept(found) else f"in round {number}"
            yield f"selection: {'kept' if found.kept else 'not kept'} {learnt}"


def _learns_from_kept(found: Explained) -> bool:
    """Whether the update learns from what was kept alone; a rule of one's own need not be importable here."""
    try:
        return learns_from_kept(find_update_rule(found.config.update))
    except UserError:
        return True


def _trained(found: Explained) -> Iterator[str]:
    if found.edit:
        cut = "" if found.edit.finished else ", cut off by the token limit"
        by = found.edit.worker or "a worker that is not on record"
        how = "with the hint:" if found.config.sampling.playbook else "as"
        asked = f", asked for {how} {found.strategy}" if found.strategy else ""
        yield f"self-edit: {counted(found.edit.tokens, 'token')}{cut}, written by {by}{asked}"
        yield from _indented(found.edit.completion or f"(none: {found.edit.refused})")
    if found.recipe:
        yield f"recipe: {_recipe(found.recipe)}"
        if not found.is_recorded_recipe:
            yield "(!) the run trained another recipe: what the config names here is not what it was"
    elif found.places and (trains_nothing(found.place) or (found.baseline and not found.note)):
        yield "recipe: none; the questions are asked without training"


def _recipe(recipe: Recipe) -> str:
    """What is trained and how, all settings resolved."""
    optim, lora = recipe.optim, recipe.lora
    what = f"LoRA of {_settings(vars(lora))}" if lora else "all weights"
    steps = counted(optim.steps(len(recipe.examples)), "step")
    return f"{counted(len(recipe.examples), 'text')}, {steps}; {what}; {_settings(vars(optim))}"


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _came(found: Explained) -> Iterator[str]:
    row = found.outcome
    if row is None:
        yield "outcome: it has not ended"
        return
    yield f"reward: {_number(row.reward)}" + _untrained(found)
    if row.forgotten is not None:
        yield f"forgotten: {_number(row.forgotten)} nats a token of what was known before"
    yield from _chosen_by(found, row)
    if row.failure:
        yield f"failure: {row.failure}: {row.reason}"
    losses = f", loss {row.first_loss:.3f} to {row.last_loss:.3f}" if row.steps and row.first_loss is not None else ""
    work = f"{counted(row.steps, 'step')} on {counted(row.tokens, 'token')}{losses}"
    yield f"work: {row.seconds:.1f} s of {row.worker or 'no worker'}, {work}"


def _chosen_by(found: Explained, row: OutcomeRow) -> Iterator[str]:
    """The sum that a round chooses by, where that is more than the reward; its own parts may not be importable here."""
    weights = found.config.selection.reward
    if weights == Reward() or not found.edit or all(round_number(place.stage) is None for place in found.places):
        return
    try:
        chosen_by = ChosenBy.of(weights)
    except UserError as error:
        yield f"chosen by: not known here: {error}"
        return
    edit, trial = _edit(found.edit), chosen_by.summary(row.outcome)
    parts = ", ".join(f"{name} {_number(value)} × {weight:g}" for name, value, weight in chosen_by.parts(edit, trial))
    yield f"chosen by: {_number(chosen_by.sum(edit, trial))} of {parts}"


def _edit(row: SelfEditRow) -> SelfEdit:
    """The self-edit of a row."""
    about = SelfEdit(row.task_id, row.index, row.policy, row.prompt, "", row.seed, name=row.key)
    return filled(about, row.written)


def _untrained(found: Explained) -> str:
    return f", {_number(found.before.reward)} before ({found.before_by})" if found.before else ""


def _answers(found: Explained) -> Iterator[str]:
    """Every question with its gold answer, and what was answered before and after."""
    after, before = found.outcome, found.before
    gold, count = _gold(found), len(after.answers) if after else len(found.questions)
    if after and not after.answers and after.log_likelihoods:
        yield f"log-likelihoods of the held-out statements: {', '.join(map(_number, after.log_likelihoods))}"
    for i in range(count):
        yield f"question {i + 1}:" + ("" if i < len(found.questions) else " its text is not known here")
        yield from _indented(shown(found.questions[i])) if i < len(found.questions) else ()
        if len(gold) == count:
            yield f"  gold:   {_one(gold[i])}"
        for name, row in (("before", before), ("after", after)):
            if row and len(row.answers) == count:
                yield f"  {name + ':':7} {_one(row.answers[i])}  [{_verdict(row, i)}]"


def _gold(found: Explained) -> list[str]:
    return [question.answer for question in found.task.questions] if found.task else []


def _verdict(row: OutcomeRow, i: int) -> str:
    cut = ", cut off" if i < len(row.cut) and row.cut[i] else ""
    return (_number(row.verdicts[i]) if i < len(row.verdicts) else "not judged") + cut


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _one(text: str) -> str:
    return " ".join(text.split()) or "(nothing)"


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.replace("\r", "\n").split("\n")]
