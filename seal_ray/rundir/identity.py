"""What a run is: its settings, and what stands behind them. Two runs that are the same may share results; others never.

A path says nothing about what lies there, and `auto` nothing about what was chosen. So a run's identity holds the
settings that decide results, the content of every file they name, and what the settings left to be decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seal_ray import plugins
from seal_ray.config import Config, difference
from seal_ray.domains.base import Domain
from seal_ray.domains.registry import option_kinds, spelled_out
from seal_ray.grading import grader_of
from seal_ray.model import fingerprint
from seal_ray.model import locate as models
from seal_ray.model.hub import DATASET
from seal_ray.sources import PRACTICAL, READS, WRITES, marked, must_exist, source_paths
from seal_ray.types import UserError, content_key
from seal_ray.workers.sampler import EngineSpec


@dataclass(frozen=True)
class Identity:
    settings: Mapping[str, Any]
    """The config's sections, with all options spelled out; nothing that says only where or how."""
    contents: Mapping[str, str]
    """The hash of every file that the settings name, by the setting (and the file, where a setting names several), and
    of the code of what is the user's own."""
    decided: Mapping[str, str]
    """What the settings left open, as this machine decided it."""

    @property
    def name(self) -> str:
        """What the run's rows are known by."""
        return content_key("run", self.tree())

    def tree(self) -> dict[str, Any]:
        return asdict(self)


def identify(config: Config, domain: Domain) -> Identity:
    """Reads every byte that decides a run's results, large files once: see `fingerprint`."""
    contents = models.contents(config.model.path, config.model.revision)
    for section, thing in (("domain.options", domain), ("grading.options", grader_of(domain))):
        for name, path in source_paths(thing).items():
            contents[f"{section}.{name}"] = _content(f"{section}.{name}", path)
    if path := config.update.warm_start:
        contents["update.warm_start"] = _content("update.warm_start", path)
    contents |= _own_code(config)
    engine = EngineSpec.of(config)
    decided = {"sampling.engine": engine.name, "precision when sampling": engine.dtype(config.model.dtype)}
    return Identity(settings_of(config), contents, decided)


CODE = "the code of "


def _own_code(config: Config) -> dict[str, str]:
    """The hash of the code of each part of the user's own that decides what comes of a run.

    Methods are not among them: what they make of a task is on record by what it says.
    """
    named = [("domain.name", config.domain.name), ("grading.name", config.grading.name)]
    named += [("selection.rule", config.selection.rule), ("update.rule", config.update.rule)]
    named += [("selection.reward.own", name) for name in config.selection.reward.own]
    named += [("continual.ways", name) for name in config.continual.ways if config.continual.sequences]
    held = {f"{CODE}{kind} {name}": plugins.code(kind, name) for kind, name in named}
    return {name: content for name, content in held.items() if content}


def comparable(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """The new contents, without the code of a user's own where the old ones are of a version that kept none."""
    told = any(name.startswith(CODE) for name in old)
    return {name: content for name, content in new.items() if told or not name.startswith(CODE)}


def graded_alike(one: Identity, other: Identity) -> bool:
    """Whether both judge an answer in the same way, as far as can be told."""

    def graded(run: Identity) -> tuple[Any, ...]:
        domain, by = run.settings["domain"], ("grading.", f"{CODE}grading.", f"{CODE}domain.")
        contents = {name: content for name, content in run.contents.items() if name.startswith(by)}
        return run.settings["grading"], domain["name"], domain["options"], contents

    return graded(one) == graded(other)


def must_be_unchanged(identity: Identity, domain: Domain) -> None:
    """Refuse to go on from tasks that were read from another source than the run began with."""
    for name, path in source_paths(domain).items():
        setting = f"domain.options.{name}"
        before = identity.contents.get(setting)  # a run that is only simulated reads nothing
        if before and _content(setting, path) != before:
            raise UserError(
                f"{setting}: {path} has changed since the run began, which would go on with other tasks; "
                "put back what was there and give the same command again"
            )


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that decide results, options with their defaults. What lies behind a path stands for the path."""
    tree = spelled_out(config).identity()
    del tree["model"]["path"], tree["model"]["revision"], tree["update"]["warm_start"]
    for section, options in option_kinds(config.domain.name, config.grading.name).items():
        for name in marked(options, READS, WRITES, PRACTICAL):
            del tree[section]["options"][name]
    return tree


def differences(old: Identity, new: Identity) -> list[str]:
    """One line for each thing that is not what it was."""
    lines = difference(dict(old.settings), dict(new.settings))
    contents = comparable(old.contents, new.contents)
    for name in sorted(old.contents.keys() | contents.keys()):
        before, after = old.contents.get(name), contents.get(name)
        if before != after:
            what = "has changed" if before and after else ("is new" if after else "is gone")
            lines.append(f"{name}: the content {what} ({before or '-'} -> {after or '-'})")
    return [*lines, *difference(dict(old.decided), dict(new.decided))]


def _content(setting: str, path: str) -> str:
    """What a source holds; a dataset of the hub is named by its commit."""
    if path.startswith(DATASET):
        return path
    must_exist(setting, path)
    return fingerprint.of_path(Path(path))
