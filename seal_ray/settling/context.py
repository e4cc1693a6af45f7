"""Whether prompts fit the model's context, counted with its own tokenizer before anything is started. No torch here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from seal_ray.config import Config
from seal_ray.model.hub import NotOnThisMachine
from seal_ray.model.template import Files
from seal_ray.model.tokens import tokenizer_of
from seal_ray.plain import counted
from seal_ray.types import Example, Prompt, UserError, plain_text

logger = logging.getLogger(__name__)


def must_fit(config: Config, prompts: Sequence[Prompt], room: int, what: str) -> None:
    """Refuse prompts none of which fits with this many tokens after it, and say how many do not where some do.

    Of a model that is not on this machine, or whose tokenizer only its workers can read, nothing is said.
    """
    if not (limit := _positions(config)) or not (long := _longer(config, map(plain_text, prompts), limit - room)):
        return
    after = f" with {room} more to come" if room > 1 else ""
    if len(long) == len(prompts):
        raise UserError(
            f"{what}: each takes {min(long):,} tokens or more{after}, and the context of model.path "
            f"{config.model.path!r} has {limit:,}; give shorter passages, or a model with a longer context"
        )
    logger.warning(
        "%s: %d of %d do not fit the model's context of %s tokens%s and will fail; give shorter passages",
        *(what, len(long), len(prompts), f"{limit:,}", after),
    )


def must_be_learnt(config: Config, examples: Sequence[Example], what: str) -> None:
    """Refuse training texts all of which would be cut, and say how many would be where some would."""
    limit = min(config.model.max_length, _positions(config) or config.model.max_length)
    if not (long := _longer(config, (plain_text(each.prompt) + each.completion for each in examples), limit)):
        return
    cut = f"{len(long)} of {counted(len(examples), 'example')} would be cut to {limit:,} tokens"
    mend = "raise model.max_length as far as the model's context goes, or give shorter ones"
    said = f"{what}: {cut}, the longest of {max(long):,}; {mend}"
    if len(long) == len(examples):
        raise UserError(said)
    logger.warning("%s", said)


def _longer(config: Config, texts: Iterable[str], limit: int) -> list[int]:
    """The lengths in tokens of the texts that have more than so many; of none where they cannot be counted here."""
    # A token has a byte or more, so most texts need not be counted.
    suspects = [text for text in texts if len(text.encode()) > limit]
    if not suspects or (tokenizer := tokenizer_of(config.model.path)) is None:
        return []
    return [tokens for text in suspects if (tokens := len(tokenizer.encode(text).ids)) > limit]


def _positions(config: Config) -> int:
    try:
        tree = Files(config.model.path, config.model.revision, ask_hub=False).tree("config.json")
    except NotOnThisMachine:
        return 0
    found = tree.get("text_config", tree).get("max_position_embeddings")
    return found if isinstance(found, int) else 0
