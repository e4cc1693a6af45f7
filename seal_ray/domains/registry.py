"""From a config's `[domain]` section to the domain itself."""

from __future__ import annotations

from pydantic import ValidationError

from seal_ray import plugins
from seal_ray.config import Config
from seal_ray.domains.base import Domain
from seal_ray.types import UserError

DOMAINS = {
    "microworld": "seal_ray.domains.microworld.domain:MicroWorld",
    "knowledge": "seal_ray.domains.knowledge.domain:Knowledge",
    "arc": "seal_ray.domains.arc.domain:Arc",
    "arcworld": "seal_ray.domains.arcworld.domain:ArcWorld",
}


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
    return domain(options, config.trial.lora, config.trial.optim)
