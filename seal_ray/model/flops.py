"""Operations that training takes: counted from a model's shape, whatever machine does them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seal_ray.model.architecture import model_shape
from seal_ray.types import UserError

if TYPE_CHECKING:
    from seal_ray.config import Config  # the bench runs on machines that lack what it needs


def per_trained_token(multiplied: int, adapter: int) -> int:
    """Operations of a token that an adapter is trained on, short of what tokens have to do with one another.

    It goes forward and back through the frozen weights that it is multiplied with, the second time for the inputs'
    gradients alone; through the adapter's both ways and once more for its own gradients.
    """
    return 4 * multiplied + 6 * adapter


def per_trained_pair(layers: int, width: int) -> int:
    """Operations of every two tokens of a text that attend to one another, over heads of this width together."""
    return 12 * layers * width


def of_trained_token(config: Config) -> int | None:
    """What a token of a run's trials takes; None where the model's shape is not known on this machine."""
    try:
        shape = model_shape(config.model.path)
        return per_trained_token(shape.multiplied, shape.adapter(config.trial.lora))
    except UserError:
        return None
