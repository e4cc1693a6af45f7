"""What is trained, and how: texts, the shape of an adapter, its optimiser and its objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal

from seal_ray.types.content import ADDED, content_key
from seal_ray.types.policies import BASE, AdapterRef
from seal_ray.types.prompts import Prompt


@dataclass(frozen=True)
class Example:
    """One training text.

    A prompt is context the loss does not cover, unless `learn_prompt`. A completion that follows a
    prompt is a whole reply and ends with the end-of-text token, unless it is not `whole`; a bare text does not.
    """

    completion: str
    prompt: Prompt = ""
    learn_prompt: bool = False
    whole: bool = field(default=True, metadata=ADDED)
    """False for a reply that was cut off, or whose end is not to be judged: what would end the turn is left out."""
    teacher: Prompt = field(default="", metadata=ADDED)
    """What the model has before the completion where it is its own teacher, such as the passage; for `distilled`."""
    weight: float = field(default=1.0, metadata=ADDED)
    """What it counts beside others, whose loss is a mean over their tokens as if each counted 1."""


ALL_LINEAR = "all-linear"
"""PEFT's word, as an adapter's target, for every linear module but the output head."""
_STRICT = {"extra": "forbid", "allow_inf_nan": False}
"""What a config may give for a spec: a misspelt key is refused, not ignored, and so is what is no number."""


@dataclass(frozen=True)
class Bounds:
    """What a config may give for a number, or how long a text or a tuple has to be. Nothing else looks at it."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    pattern: str | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(source), **{name: bound for name, bound in vars(self).items() if bound is not None}}


class OneOrMore:
    """Marks a tuple of texts for which a config may give one text as itself."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        function = {"type": "no-info", "function": lambda given: [given] if isinstance(given, str) else given}
        return {"type": "function-before", "function": function, "schema": handler(source)}


@dataclass(frozen=True)
class LoraSpec:
    """The shape of an adapter, in PEFT's words. A config is held to the bounds."""

    __pydantic_config__: ClassVar = _STRICT

    rank: Annotated[int, Bounds(ge=1, le=8192)] = 32
    """Inner width of the two matrices."""
    alpha: Annotated[float, Bounds(gt=0, le=1e6)] = 64.0
    """What the adapter adds is multiplied by alpha / rank."""
    targets: Annotated[tuple[Annotated[str, Bounds(min_length=1)], ...], Bounds(min_length=1), OneOrMore] = (
        "q_proj",
        "v_proj",
    )
    """Names of linear modules, matched at the end of a module's path as PEFT does; `all-linear`: all but the head."""

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


@dataclass(frozen=True)
class OptimSpec:
    """How an adapter is trained: AdamW, one pass over the shuffled texts per epoch. Bounds are a config's."""

    __pydantic_config__: ClassVar = _STRICT

    lr: Annotated[float, Bounds(gt=0, le=10)] = 1e-3
    """Largest learning rate."""
    epochs: Annotated[int, Bounds(ge=1, le=10_000)] = 10
    """Passes over the texts."""
    batch_size: Annotated[int, Bounds(ge=1, le=1_000_000)] = 1
    """Texts in one step."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Decays to zero over the trial's own number of steps, after `warmup_steps`."""
    warmup_steps: Annotated[int, Bounds(ge=0, le=1_000_000)] = 0
    """Steps over which the learning rate rises from zero."""
    betas: tuple[Annotated[float, Bounds(ge=0, lt=1)], Annotated[float, Bounds(ge=0, lt=1)]] = (0.9, 0.999)
    """Decay of AdamW's two moments."""
    eps: Annotated[float, Bounds(gt=0, le=1)] = 1e-8
    """Added to the root of the second moment."""
    weight_decay: Annotated[float, Bounds(ge=0, le=100)] = 0.0
    """AdamW's, decoupled from the gradient."""
    clip_norm: Annotated[float, Bounds(ge=0)] = 1.0
    """Largest norm of a step's gradient; 0 does not clip."""

    def steps(self, texts: int) -> int:
        """How many it takes to train on so many texts."""
        return self.epochs * -(-texts // self.batch_size)


@dataclass(frozen=True)
class ObjectiveSpec:
    """What texts are trained to, for whoever may not import torch."""

    name: str
    """One that `seal_ray.bank.objectives` knows, or one's own as `package.module:Thing`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What it is made from."""


def _must_be_examples(given: Any) -> None:
    """Refuse other things where they are given, and not where something is made of them."""
    wrong = [each for each in given if not isinstance(each, Example)] if isinstance(given, tuple | list) else [given]
    if wrong:
        raise TypeError(f"a tuple of Example is wanted as examples, and {repr(wrong[0])[:80]} is given")
    if odd := [each.weight for each in given if not (isinstance(each.weight, int | float) and isfinite(each.weight))]:
        raise TypeError(f"the weight of an example is a finite number of Python's own, and {odd[0]!r} is given")


@dataclass(frozen=True)
class Recipe:
    """A parsed self-edit: what to train on, and how."""

    examples: tuple[Example, ...]
    lora: LoraSpec | None = LoraSpec()
    """The adapter that is trained; None trains all weights of a copy of the model."""
    optim: OptimSpec = OptimSpec()
    anchors: tuple[Example, ...] = field(default=(), metadata=ADDED)
    """Texts of which the same is to be predicted as before."""
    kl_coef: float = field(default=0.0, metadata=ADDED)
    """Weight of their divergence beside the loss of the examples."""
    objective: ObjectiveSpec | None = field(default=None, metadata=ADDED)
    """What the examples are trained to; None: to their tokens."""

    def __post_init__(self) -> None:
        _must_be_examples(self.examples)

    @property
    def key(self) -> str:
        return content_key("recipe", self)


@dataclass(frozen=True)
class FinetuneSpec:
    """What a policy is finetuned on, and how."""

    examples: tuple[Example, ...]
    lora: LoraSpec
    optim: OptimSpec
    seed: int
    anchor_examples: tuple[Example, ...] = ()
    """Texts on which the policy is to predict what it did before."""
    kl_coef: float = 0.0
    """Weight of their divergence beside the loss of the examples."""
    objective: ObjectiveSpec | None = field(default=None, metadata=ADDED)
    """What the examples are trained to; None: to their tokens."""
    base: AdapterRef = field(default=BASE, metadata=ADDED)
    """The adapter that the new one is trained on top of."""

    def __post_init__(self) -> None:
        _must_be_examples(self.examples)
