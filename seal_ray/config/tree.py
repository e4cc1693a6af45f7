"""A whole run: all sections together, what they may not be beside one another, and which of them decide results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from seal_ray.config.sections import (
    IN_PROCESS,
    Continual,
    DomainSection,
    Evaluation,
    Generated,
    Grading,
    Model,
    Questions,
    Run,
    Sampling,
    Section,
    Selection,
    TrialSection,
    Update,
    Workers,
)
from seal_ray.model.precision import AUTO
from seal_ray.reading import as_tree


@dataclass(frozen=True, kw_only=True)
class Config(Section):
    """A whole run."""

    run: Run = Run()
    model: Model
    domain: DomainSection
    sampling: Sampling = Sampling()
    questions: Questions = Questions()
    trial: TrialSection = TrialSection()
    selection: Selection = Selection()
    update: Update = Update()
    evaluation: Evaluation = Evaluation()
    generated: Generated = Generated()
    continual: Continual = Continual()
    grading: Grading = Grading()
    workers: Workers = Workers()

    def __post_init__(self) -> None:
        if self.workers.address == IN_PROCESS and self.trial.eval_engine == "vllm":
            raise ValueError('workers.address = "in-process" needs trial.eval_engine = "bank"')
        if (self.sampling.strategies or self.sampling.playbook) and self.evaluation.joint:
            off = "leave sampling.strategies empty" if self.sampling.strategies else "set sampling.playbook = 0"
            raise ValueError(f"evaluation.joint cuts all self-edits alike; {off}")
        if self.continual.sequences and self.trial.start == "base":
            raise ValueError('continual learns each passage on top of those before; it needs trial.start = "policy"')

    @property
    def dir(self) -> str:
        return self.run.dir or f"runs/{self.run.name}-{self.run.seed}"

    def in_precision(self, dtype: str) -> Config:
        """With this precision, where it leaves that to the machine."""
        left: Any = {"dtype": dtype} if self.model.dtype == AUTO else {}
        return replace(self, model=replace(self.model, **left))

    def identity(self) -> dict[str, Any]:
        """What decides a run's results. Where it lives and on how many workers is not part of it."""
        tree = as_tree(self)
        del tree["workers"], tree["run"]["dir"], tree["run"]["observers"], tree["run"]["logs"]
        del tree["generated"]  # a method's own: what it comes to is called by it
        tree["evaluation"] = {k: v for k, v in tree["evaluation"].items() if k not in Evaluation.OF_METHODS}
        for section in ("sampling", "questions"):
            tree[section] = {k: v for k, v in tree[section].items() if k not in ("key_env", "timeout", "patience")}
        return tree


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """One line per setting that differs between two identities."""
    before, after = dict(flat(old)), dict(flat(new))
    keys = sorted(before.keys() | after.keys())
    return [f"{k}: {before.get(k)!r} -> {after.get(k)!r}" for k in keys if before.get(k) != after.get(k)]


def flat(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a tree, as `section.key`, with its value."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(tree, list | tuple) and any(isinstance(value, dict) for value in tree):
        for number, value in enumerate(tree):
            yield from flat(value, f"{prefix}.{number}")
    else:
        yield prefix, tree
