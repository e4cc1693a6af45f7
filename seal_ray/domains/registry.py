"""Makes the domain that a config's `[domain]` section names."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seal_ray import grading, plugins
from seal_ray.domains.base import Domain
from seal_ray.reading import as_tree
from seal_ray.sources import READS, WRITES, Mark, at, marked
from seal_ray.types import UserError

if TYPE_CHECKING:
    from seal_ray.config import Config

DOMAINS = {
    "microworld": "seal_ray.domains.microworld.domain:MicroWorld",
    "knowledge": "seal_ray.domains.knowledge.domain:Knowledge",
    "arc": "seal_ray.domains.arc.domain:Arc",
    "arcworld": "seal_ray.domains.arcworld.domain:ArcWorld",
}

STUDIED = "seal_ray.domains.knowledge.studied:Studied"
"""How a config names the domain of documents that are to be known."""

_PROTOCOL = "seal_ray/domains/base.py"

_OWN_PATHS = ["model.path", "update.warm_start"]

LIKELIHOOD = "likelihood"
"""A name instead of a grader's: the reward is how likely the task's held-out statements have become."""


def option_kinds(domain: str, grader: str) -> dict[str, type]:
    """The classes of the options in the sections `domain` and `grading`, where what is named there has one."""
    named = {"domain": plugins.find("domain.name", domain, DOMAINS)}
    if grader not in ("domain", LIKELIHOOD):
        named["grading"] = plugins.find("grading.name", grader, grading.GRADERS)
    return {section: thing.Options for section, thing in named.items() if hasattr(thing, "Options")}


def path_settings(domain: str, grader: str, *marks: Mark) -> list[str]:
    """The settings of a domain and a grader that are paths, as `section.options.name`; all, or those of these marks."""
    kinds = option_kinds(domain, grader).items()
    return [
        f"{section}.options.{name}"
        for section, options in kinds
        for name in marked(options, *(marks or (READS, WRITES)))
    ]


def paths_under(trees: Sequence[dict[str, Any]]) -> list[str]:
    """The settings that are paths, under the domain and grader that the last of these trees to say so name."""
    domain, grader = None, "domain"
    for tree in trees:
        domain, grader = at(tree, ["domain", "name"]) or domain, at(tree, ["grading", "name"]) or grader
    if not (isinstance(domain, str) and isinstance(grader, str)):
        return _OWN_PATHS
    return [*_OWN_PATHS, *path_settings(domain, grader)]


def spelled_out(config: Config) -> Config:
    """The config with the options of its domain and grader whole, safe from defaults that change."""
    more = {}
    for section, kind in option_kinds(config.domain.name, config.grading.name).items():
        held = getattr(config, section)
        whole = as_tree(plugins.options(f"{section}.options", kind, held.options))
        more[section] = replace(held, options=whole)
    return replace(config, **more)


def learns(config: Config) -> bool:
    """Whether a run is one that learns documents."""
    return config.domain.name == STUDIED


def load_domain(config: Config) -> Domain:
    """The domain of that name, with the options and trial settings of the config."""
    section = config.domain
    members = "Options", "tasks", "prompt", "recipe", "baseline", "questions", "grade"
    domain = plugins.find_with("domain.name", section.name, DOMAINS, members, _PROTOCOL, "grade")
    options = plugins.options("domain.options", domain.Options, section.options)
    more = {}
    if config.grading.name not in ("domain", LIKELIHOOD):
        if "grader" not in inspect.signature(domain).parameters:
            raise UserError(f"grading.name {config.grading.name!r}: the domain {section.name!r} grades in its own way")
        more["grader"] = grading.load(config.grading.name, config.grading.options)
    wrong, trial = f"domain.name {section.name!r}: cannot be made of options, lora and optim", config.trial
    made: Domain = plugins.made(wrong, domain, options, trial.lora, trial.optim, **more)
    plugins.must_have("domain.name", section.name, made, ("name", "schema", "stop", "sample_stop"), _PROTOCOL)
    return made
