"""Whether prompts fit the model's context, counted with its own tokenizer before anything is started. No torch here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from seal_ray.config import Config
from seal_ray.model.architecture import model_folder
from seal_ray.model.hub import NotOnThisMachine
from seal_ray.model.template import Files
from seal_ray.types import Prompt, UserError

logger = logging.getLogger(__name__)


def must_fit(config: Config, prompts: Sequence[Prompt], room: int, what: str) -> None:
    """Refuse prompts none of which fits with this many tokens after it, and say how many do not where some do.

    Of a model that is not on this machine, or whose tokenizer only its workers can read, nothing is said.
    """
    limit = _positions(config)
    if not limit or not prompts or (count := _counter(config)) is None:
        return
    # A token has a byte or more, so most prompts need not be counted. What a chat template adds is left out.
    texts = [text if isinstance(text, str) else "\n".join(turn.content for turn in text) for text in prompts]
    long = [tokens for text in texts if len(text.encode()) + room > limit and (tokens := count(text)) + room > limit]
    after = f" with {room} more to come" if room > 1 else ""
    if len(long) == len(prompts):
        raise UserError(
            f"{what}: each takes {min(long):,} tokens or more{after}, and the context of model.path "
            f"{config.model.path!r} has {limit:,}; give shorter passages, or a model with a longer context"
        )
    if long:
        logger.warning(
            "%s: %d of %d do not fit the model's context of %s tokens%s and will fail; give shorter passages",
            *(what, len(long), len(prompts), f"{limit:,}", after),
        )


def _positions(config: Config) -> int:
    try:
        tree = Files(config.model.path, config.model.revision, ask_hub=False).tree("config.json")
    except NotOnThisMachine:
        return 0
    found = tree.get("text_config", tree).get("max_position_embeddings")
    return found if isinstance(found, int) else 0


def _counter(config: Config) -> Callable[[str], int] | None:
    """Counts the tokens of a text; None where the tokenizer is no file that says everything."""
    from tokenizers import Tokenizer

    folder = model_folder(config.model.path)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # the library raises nothing narrower; the worker that loads it says what is wrong
        return None
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text).ids)
