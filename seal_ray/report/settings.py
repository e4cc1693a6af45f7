"""The settings that a reader wants first: those of what the run does; the rest is in the whole config."""

from __future__ import annotations

from collections.abc import Iterator

from seal_ray.config import Config, Reward
from seal_ray.domains.registry import learns
from seal_ray.plain import counted
from seal_ray.report.sanitize import shown

_WRITERS = {"policy": "the policy as it stands", "start": "the policy as it was at the beginning"}


def only_measures(config: Config) -> bool:
    """Whether a run has neither rounds nor documents to learn, so that no update changes its policy."""
    return not config.run.rounds and not learns(config) and not config.update.warm_start


def chosen_by(config: Config) -> str:
    """The weights of the parts that self-edits are chosen by; empty where that is the gain as it is."""
    weights = config.selection.reward
    if weights == Reward():
        return ""
    parts = {**{name: value for name, value in vars(weights).items() if name != "own"}, **weights.own}
    return shown(", ".join(f"{name} × {weight:g}" for name, weight in parts.items() if weight), 200)


def settings(config: Config) -> tuple[tuple[str, str], ...]:
    """What is said in the head of the page, each with its label."""
    trial = config.trial
    found = [
        ("Model", f"{config.model.path}, {config.model.dtype}"),
        *_tasks(config),
        ("Trials", f"LoRA of rank {trial.lora.rank}, learning rate {trial.optim.lr:g}, "
                   f"{counted(trial.optim.epochs, 'epoch')}, from the {trial.start}"),
        *(() if only_measures(config) else _update(config)),
        *_after(config),
    ]  # fmt: skip
    return tuple((label, shown(value, 300)) for label, value in found)


def _tasks(config: Config) -> Iterator[tuple[str, str]]:
    """What is learnt from, and what is written of it."""
    domain, selection, samples = config.domain, config.selection, config.evaluation.samples
    name, held_out, warmth = domain.name.rpartition(":")[2], f"{domain.test or 'all'} held out", config.sampling
    at = f"at temperature {warmth.temperature:g}"
    if only_measures(config):
        yield "Tasks", f"{name}: {held_out}"
        if samples:
            yield "Self-edits", f"{samples} a held-out task {at}, {counted(config.evaluation.seeds, 'seed')} each"
        return
    race = f"{selection.race} raced trials a task" if selection.race else f"{counted(config.trial.seeds, 'seed')} each"
    race += f", while one promises {selection.foresee:g} more" if selection.foresee else ""
    yield "Tasks", f"{name}: {domain.train or 'all'} to learn from a round, {held_out}"
    yield "Self-edits", f"{warmth.per_task} a task {at}, {race}"


def _update(config: Config) -> Iterator[tuple[str, str]]:
    """How the policy is trained of what was kept."""
    update = config.update
    held = f", held to its answers with weight {update.kl_coef:g}" if update.kl_coef else ""
    how = f"learning rate {update.optim.lr:g}, {counted(update.optim.epochs, 'epoch')}{held}"
    yield "Update", f"LoRA of rank {update.lora.rank}, {how}"
    if config.run.rounds:
        by = f", chosen by {found}" if (found := chosen_by(config)) else ""
        yield "Rounds", f"{config.run.rounds}, kept by the rule “{config.selection.rule}”{by}"


def _after(config: Config) -> Iterator[tuple[str, str]]:
    """What is done after the last round, or instead of any."""
    turns, evaluation = config.continual, config.evaluation
    if turns.sequences:
        orders = f"{counted(turns.passages, 'passage')} in {counted(turns.sequences, 'order')}"
        yield "In turn", f"{orders}, written of by {_WRITERS[turns.writer]}"
        yield "Ways", ", ".join(turns.ways)
    if evaluation.methods:
        yield "Methods", ", ".join(evaluation.methods)
        yield "Texts", f"{', '.join(map(str, evaluation.texts))} a task, where a method has them written"
