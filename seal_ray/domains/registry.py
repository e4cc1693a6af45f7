"""From a config's `[domain]` section to the domain itself."""

from __future__ import annotations

import inspect

from pydantic import BaseModel, ValidationError

from seal_ray import grading, plugins
from seal_ray.config import Config
from seal_ray.domains.base import Domain
from seal_ray.types import UserError

DOMAINS = {
    "microworld": "seal_ray.domains.microworld.domain:MicroWorld",
    "knowledge": "seal_ray.domains.knowledge.domain:Knowledge",
    "arc": "seal_ray.domains.arc.domain:Arc",
    "arcworld": "seal_ray.domains.arcworld.domain:ArcWorld",
}


LIKELIHOOD = "likelihood"
"""Not a grader of answers: the reward is how likely the task's held-out statements have become."""


def option_models(config: Config) -> dict[str, type[BaseModel]]:
    """The models of the options in the sections `domain` and `grading`, where the thing that is named there has one."""
    named = {"domain": plugins.find("domain.name", config.domain.name, DOMAINS)}
    if config.grading.name not in ("domain", LIKELIHOOD):
        named["grading"] = plugins.find("grading.name", config.grading.name, grading.GRADERS)
    return {section: thing.Options for section, thing in named.items() if hasattr(thing, "Options")}


def spelled_out(config: Config) -> Config:
    """The config with the options of its domain and grader whole, safe from defaults that change."""
    more = {}
    for section, options in option_models(config).items():
        held = getattr(config, section)
        more[section] = held.model_copy(update={"options": options(**held.options).model_dump(mode="json")})
    return config.model_copy(update=more)


def load_domain(config: Config) -> Domain:
    """The domain of that name, with the options and trial settings of the config."""
    section = config.domain
    domain = plugins.find("domain.name", section.name, DOMAINS)
    try:
        options = domain.Options(**section.options)
    except ValidationError as error:
        item = error.errors()[0]
        where = ".".join(["domain.options", *map(str, item["loc"])])
        raise UserError(f"{where}: {item['msg'].lower()} (known: {', '.join(domain.Options.model_fields)})") from None
    more = {}
    if config.grading.name not in ("domain", LIKELIHOOD):
        if "grader" not in inspect.signature(domain).parameters:
            raise UserError(f"grading.name {config.grading.name!r}: the domain {section.name!r} grades in its own way")
        more["grader"] = grading.load(config.grading.name, config.grading.options)
    return domain(options, config.trial.lora, config.trial.optim, **more)
