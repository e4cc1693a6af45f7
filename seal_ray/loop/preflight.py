"""Everything a run needs that can be found missing at once, found before Ray is started or a directory touched.

Plug-ins, options, sources, keys, the model and the hub are looked at here, and the first tasks are drawn. What comes
after may wait for machines; it does not wait to say that a file is not there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from seal_ray.config import Config, parse
from seal_ray.domains.base import Domain, NeedsQuestions
from seal_ray.domains.drawing import divided, held_out_tasks, training_tasks
from seal_ray.domains.registry import load_domain, path_settings
from seal_ray.loop.continual import check_continual, orders_of
from seal_ray.loop.memory import check_memory
from seal_ray.loop.methods import check_methods, need_skill
from seal_ray.loop.strategies import asking, check_strategies
from seal_ray.model import hub
from seal_ray.model.architecture import check_kind, check_targets
from seal_ray.model.locate import on_hub, resolve
from seal_ray.model.precision import AUTO
from seal_ray.model.quantization import check_quantization
from seal_ray.observe import observers
from seal_ray.plain import one_line
from seal_ray.reading import as_tree
from seal_ray.rundir import directory
from seal_ray.rundir.directory import Recorded
from seal_ray.rundir.frozen import Drawn
from seal_ray.rundir.growing import Passages
from seal_ray.rundir.identity import Identity, identify
from seal_ray.selection.reward import ChosenBy
from seal_ray.selection.rules import Rule, find_rule
from seal_ray.settling import Settled, must_be_learnt, must_chat, must_fit, settle
from seal_ray.sources import READS, at, must_exist
from seal_ray.types import FinetuneSpec, Task, UserError, content_key, is_prompt
from seal_ray.update.base import UpdateRule, find_update_rule
from seal_ray.update.warm_start import SETTING, warm_start
from seal_ray.workers.precision import of_first_trainer
from seal_ray.workers.sampler import EngineSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ready:
    """A run that can begin."""

    config: Config
    """The config, with everything that it names on the hub at the commit that the run keeps, and nothing left to the
    model."""
    domain: Domain
    rule: Rule
    update_rule: UpdateRule
    identity: Identity
    held_out: Sequence[Task]
    first: Sequence[Task]
    """What the first round draws, and a skill is learnt on; nothing where there is neither."""
    warm_start: FinetuneSpec | None = None
    """What the policy is finetuned on before the first round, if it is."""

    @property
    def needs_rewards(self) -> bool:
        """Whether the rounds try what was written."""
        return self.rule.needs_rewards or self.update_rule.needs_rewards


def prepare(config: Config, force: bool = False) -> Ready:
    """Look at everything. A run that was begun before keeps to the commits and the precision it found then.

    With `force`, another run in the directory is going to be moved aside.
    """
    config = parse(as_tree(config), "the config")  # one that was made in Python has not been held to any bounds
    _sources(config)
    rule, update_rule = check(config)
    config = resolved(config)
    domain = load_domain(config)
    held_out, first = _tasks(config, domain)
    if isinstance(domain, NeedsQuestions) and any(domain.question_prompt(task) for task in (*held_out, *first)):
        _key(config.questions.endpoint and config.questions.key_env, "questions.key_env")
    begun_with = _warm_start(config, domain)
    config = precise(config, domain, force)
    return Ready(config, domain, rule, update_rule, identify(config, domain), held_out, first, begun_with)


def resolved(config: Config) -> Config:
    """The config at the commits that its run keeps, with nothing left to the model but the precision."""
    found = settle(pinned(config, directory.begun(config.dir)))
    for line in found.said:
        logger.info("%s", line)
    return found.config


def precise(config: Config, domain: Domain, force: bool = False) -> Config:
    """The config with the precision that it leaves to the machine of the first trainer, which is asked once."""
    if config.model.dtype != AUTO:
        return config
    if before := directory.living(config.dir):
        same = config.in_precision(before.config.model.dtype)
        if not force or not before.unlike(identify(same, domain)):  # another run is refused, whatever its precision
            return same
    found = of_first_trainer(config)
    logger.info("model.dtype = %s: %s", found.dtype, found.reason)
    return config.in_precision(found.dtype)


def check(config: Config) -> tuple[Rule, UpdateRule]:
    """Refuse a config that names what cannot be used. This is cheap, and does not look at sources."""
    rule, update_rule = find_rule(config.selection.rule), find_update_rule(config.update)
    ChosenBy.of(config.selection.reward)
    observers.check(config)
    resolve(config.model.path)
    check_kind(config.model.path)
    check_targets(config)
    check_quantization(config)
    domain = load_domain(config)
    check_memory(config, domain)
    check_strategies(config, domain, rule.needs_rewards or update_rule.needs_rewards)
    engine = EngineSpec.of(config).name
    if engine == "endpoint":
        if config.run.rounds:
            raise UserError(
                'sampling.engine "endpoint": a round finetunes the model that writes, and a server\'s stays as it is; '
                "set run.rounds = 0 to measure what it writes, or another engine"
            )
        _key(config.sampling.key_env, "sampling.key_env")
    return rule, update_rule


def look(config: Config, shown: Callable[[Settled], object] = lambda found: None) -> str:
    """Check all that can be checked without the hub and without reading large files: a dry run.

    Returns a line that says what a run would do; `UserError` says what is wrong. What the config resolves to is given
    to `shown` first.
    """
    found = settle(config, ask_hub=False)
    shown(found)
    sources = _sources(config)
    check(config)
    config = found.config
    drawn, split, before = None, "", directory.living(config.dir)
    if not any(source.startswith(hub.DATASET) for source in sources):
        held_out, first = _tasks(config, domain := load_domain(config))
        split = f"tasks: {divided(first, held_out)}; "
        _warm_start(config, domain)
        # Only a run of passages in turn may go on with others, and to draw each round's takes long.
        if before and config.continual.sequences:
            drawn = drawn_for(config, domain, held_out, first)
    if not found.open:  # what is still to be settled cannot be compared
        directory.refuse_another(config, Passages(config, drawn))
    does = "go on" if before else "begin"
    return f"{split}of what was looked at nothing is missing; a run would {does} in {config.dir}; nothing was started"


def _sources(config: Config) -> list[str]:
    """The paths that settings name as sources; refused where one is missing."""
    tree, found = as_tree(config), []
    for setting in path_settings(config.domain.name, config.grading.name, READS):
        found.append(str(at(tree, setting.split(".")) or ""))
        must_exist(setting, found[-1])
    return found


def _tasks(config: Config, domain: Domain) -> tuple[Sequence[Task], Sequence[Task]]:
    """The held-out tasks, and those of the first round when there is one."""
    held_out = held_out_tasks(config, domain)
    check_continual(config, held_out)
    check_methods(config, domain, held_out)
    first = first_tasks(config, domain)
    _refuse_shared(domain, held_out, first)
    _look_at_prompts(config, domain, held_out, first)
    return held_out, first


def _refuse_shared(domain: Domain, held_out: Sequence[Task], first: Sequence[Task]) -> None:
    """Refuse to learn from what is held out; domains with sources of their own have looked through all of these."""
    learnt = {_said(task): task.id for task in first}
    for task in held_out:
        if same := learnt.get(_said(task)):
            raise UserError(
                f"domain {domain.name!r}: the held-out task {task.id!r} is to be learnt from too, as {same!r}; keep "
                "each task in one split"
            )


def _said(task: Task) -> str:
    return content_key(task.title, task.context, task.questions)


def _look_at_prompts(config: Config, domain: Domain, held_out: Sequence[Task], first: Sequence[Task]) -> None:
    """Refuse prompts that the base cannot take, or that are too long; an endpoint's are its own affair."""
    writes = EngineSpec.of(config).name != "endpoint" and (config.run.rounds or config.evaluation.samples)
    tasks = [*held_out, *first]
    names = config.sampling.strategies or ("", *config.sampling.hints)
    writers = [asking(config, domain, name) for name in names] if writes else []
    shown = [writer.prompt(task) for writer in writers for task in tasks]
    asked = [question.prompt for task in tasks for question in task.questions]
    if wrong := [prompt for prompt in (*shown, *asked) if not is_prompt(prompt)]:
        wanted = "a text, or a tuple of seal_ray.types.Message, is wanted"
        raise UserError(f"domain {domain.name!r}: {one_line(repr(wrong[0]), 80)} is no prompt; {wanted}")
    must_chat(config, [*shown, *asked])
    must_fit(config, shown, 1, "prompts for self-edits")
    must_fit(config, asked, config.trial.answer_tokens, "questions")


def _warm_start(config: Config, domain: Domain) -> FinetuneSpec | None:
    """What the policy is finetuned on before the first round: of a form that the base has, and not too long."""
    found = warm_start(config, domain)
    if found:
        what = f"{SETTING} {config.update.warm_start!r}"
        must_chat(config, [example.prompt for example in found.examples], what)
        must_be_learnt(config, found.examples, what)
    return found


def first_tasks(config: Config, domain: Domain) -> Sequence[Task]:
    """What the first round draws, and a skill is learnt on; nothing where there is neither."""
    return training_tasks(config, domain, 1) if config.run.rounds or need_skill(config) else ()


def drawn_for(config: Config, domain: Domain, held_out: Sequence[Task], first: Sequence[Task]) -> Drawn:
    """All tasks of a run, by their ids and by what they say."""
    later = range(2, config.run.rounds + 1) if config.domain.fresh else ()
    rounds = [first, *(training_tasks(config, domain, round_) for round_ in later)]
    return Drawn.of(held_out, rounds, orders_of(config, held_out) if config.continual.sequences else ())


def pinned(config: Config, before: Recorded | None = None) -> Config:
    """The config with the commits that its names on the hub stand for: those of the run's beginning, or today's."""
    known = before.identity.contents if before else {}
    model = config.model
    if on_hub(model.path):
        begun = before if before and before.config.model.path == model.path else None
        kept = begun.commit if begun and model.revision in (None, begun.commit) else ""
        revision = kept or hub.commit(model.path, model.revision, "model.path")
        config = replace(config, model=replace(model, revision=revision))
    for setting in path_settings(config.domain.name, config.grading.name, READS):
        section, _, name = setting.split(".")
        held = getattr(config, section)
        source = held.options.get(name, "")
        if isinstance(source, str) and source.startswith(hub.DATASET):
            taken = _kept(source, known.get(setting, "")) or hub.pinned_dataset(source, setting)
            config = replace(config, **{section: replace(held, options={**held.options, name: taken})})
    return config


def _kept(source: str, known: str) -> str | None:
    """A dataset as it was taken when the run was begun, if it is the same one that the config names."""
    if not known.startswith(hub.DATASET):
        return None
    (name, revision, split), (old, taken, old_split) = hub.dataset_parts(source), hub.dataset_parts(known)
    return known if (name, split) == (old, old_split) and revision in (None, taken) else None


def _key(variable: str, setting: str) -> None:
    if variable and not os.environ.get(variable):
        raise UserError(
            f"{setting}: {variable} is not set; set it, or leave {setting} empty for a server without a key"
        )
