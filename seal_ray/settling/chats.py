"""Whether prompts are chats: as the model has it, where a config says `auto`, and refused where it cannot be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from seal_ray import plugins
from seal_ray.config import Config
from seal_ray.domains.registry import option_kinds
from seal_ray.model.hub import NotOnThisMachine
from seal_ray.model.template import BY_TEMPLATE, chat_template, is_instruct
from seal_ray.sources import marked
from seal_ray.types import Prompt, UserError

Found = tuple[Config, list[str]]


def with_chats(config: Config, ask_hub: bool) -> Found:
    """The config with every option that the chat template settles as true or false."""
    said, model = [], config.model
    for section, kind in option_kinds(config.domain.name, config.grading.name).items():
        for name in marked(kind, BY_TEMPLATE):
            held, setting = getattr(config, section), f"{section}.options.{name}"
            value = getattr(plugins.options(f"{section}.options", kind, held.options), name)
            if value == "auto":
                value = is_instruct(model.path, model.revision, ask_hub)
                why = "is an instruct model" if value else "is a base model, or has no chat template"
                said.append(f"{setting} = {str(value).lower()}: {model.path} {why}")
                config = replace(config, **{section: replace(held, options={**held.options, name: value})})
            elif value and chat_template(model.path, model.revision, ask_hub) is None:
                raise UserError(
                    f"{setting} = true: {model.path} has no chat template; take an instruct model, or leave it at "
                    '"auto", under which it is asked as a base model'
                )
    return config, said


def must_chat(config: Config, prompts: Iterable[Prompt], whose: str = "") -> None:
    """Refuse prompts that are chats for a model without a template; only the worker that got one would say so.

    `whose` prompts they are, where they are not the domain's. Of a model that is not on this machine nothing is said.
    """
    if not any(isinstance(prompt, tuple) for prompt in prompts):
        return
    model = config.model
    try:
        template = chat_template(model.path, model.revision, ask_hub=False)
    except NotOnThisMachine:
        return
    if template is None:
        asks = whose or f"domain.name {config.domain.name!r}"
        raise UserError(
            f"{asks} asks in chats, and model.path {model.path!r} has no chat template; take an instruct model"
        )
