"""The words of the project, as frozen data that crosses actor boundaries: without torch or Ray, so cheap to import."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, cast


@dataclass(frozen=True)
class Message:
    """One turn of a chat, rendered by the worker with the model's own template."""

    role: Literal["system", "user", "assistant"]
    content: str


ADDED = {"added": True}
"""Marks a field that came later: at its default it is no part of a key, so that older records keep theirs."""


class AdapterRef(NamedTuple):
    """An adapter by the hash of its content; the empty key is the untouched base, which has none."""

    key: str = ""


BASE = AdapterRef()


@dataclass(frozen=True)
class Policy:
    """A version of what a run has learnt: a pointer to an adapter, and what the adapter was made from."""

    name: str
    """The hash of all that it was made from; the base's for the policy that a run begins with."""
    version: int = 0
    adapter: AdapterRef = BASE


Chat = tuple[Message, ...]
Prompt = str | Chat
Ask = Callable[[Sequence[Prompt], int], Awaitable[Sequence[str]]]
"""Replies of a model to prompts, in order, greedily decoded, each of at most a number of tokens."""


@dataclass(frozen=True)
class Question:
    """One closed-book question, and the answer that counts as right."""

    prompt: Prompt
    answer: str


@dataclass(frozen=True)
class Task:
    """A context to adapt to, with the questions that measure it.

    A domain may subclass this to carry more; tasks stay with the driver and never reach a worker.
    """

    id: str
    title: str
    context: str
    questions: tuple[Question, ...]
    family: str = ""
    """Kind of task, for tables that break a result down."""

    def part(self, numbers: Sequence[int]) -> Self:
        """The same task with these of its questions alone; a domain's own keeps in step what it says of each."""
        return replace(self, questions=tuple(self.questions[number] for number in numbers))


@dataclass(frozen=True)
class SelfEdit:
    """One completion sampled from the policy for a task."""

    task_id: str
    index: int
    policy: int
    """Version of the policy that wrote it."""
    prompt: Prompt
    completion: str
    seed: int
    tokens: int = 0
    finished: bool = True
    """False when it was cut off by the token limit."""
    refused: str = ""
    """Why none could be written, when none could."""
    name: str = ""
    """What it depends on, as a run names it; see `seal_ray.rundir.keys`."""
    strategy: str = ""
    """The one of `sampling.strategies` that it was written with."""

    @property
    def key(self) -> str:
        return self.name or content_key("self-edit", self.policy, self.prompt, self.seed)


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


@dataclass(frozen=True)
class Trial:
    """The unit of work: train a fresh adapter on a recipe, then answer the questions, closed book.

    Its outcome depends on what is written here and on nothing else.
    """

    task_id: str
    base: AdapterRef
    """The adapter that lies under the trial's own."""
    recipe: Recipe | None
    """What is trained; None queries what lies below as it is."""
    seed: int
    questions: tuple[Prompt, ...]
    max_answer_tokens: int = 64
    stop: tuple[str, ...] = ()
    """Generation ends at the first of these; the stop text is not part of the answer."""
    statements: tuple[Example, ...] = ()
    """Texts whose log-likelihood under the adapted model is reported beside the answers."""

    @property
    def key(self) -> str:
        return content_key("trial", self)


FailureKind = Literal["infrastructure", "data", "bug"]


@dataclass(frozen=True)
class Failure:
    """What went wrong, classified where it happened.

    infrastructure: a worker, node or network was lost; retried elsewhere. data: this input cannot be
    parsed or trained on; recorded, never retried. bug: stops the run.
    """

    kind: FailureKind
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What a trial resulted in. Workers fill in the answers; the driver grades them."""

    key: str
    answers: tuple[str, ...] = ()
    log_likelihoods: tuple[float, ...] = ()
    """Mean per-token log-likelihood of each statement."""
    verdicts: tuple[float, ...] = ()
    """One per question: 1 right, 0 wrong, or a probability between."""
    reward: float | None = None
    failure: Failure | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Of its trainer: its share, by tokens, of what was computed side by side."""
    worker: str = ""
    warnings: tuple[str, ...] = ()
    """What the user is to be told of it; said and not kept."""
    cut: tuple[bool, ...] = ()
    """Whether each answer was cut off at its longest; empty where that is not known, or is how answers end there."""
    forgotten: float | None = None
    """How much less likely what was known before has become, in nats a token; None where that was not asked."""


@dataclass(frozen=True)
class SampleRequest:
    """A request for one completion of a policy. Its text depends on what is written here and on nothing else."""

    base: AdapterRef
    """The policy's adapter."""
    prompt: Prompt
    seed: int
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    stop: tuple[str, ...] = ()
    schema: dict[str, Any] | None = field(default=None, hash=False)
    """A JSON schema the completion must satisfy, where the engine can enforce one."""

    @property
    def key(self) -> str:
        return content_key("sample", self)

    @classmethod
    def greedy(cls, prompt: Prompt, max_tokens: int) -> Self:
        """A request for the untouched base's likeliest reply."""
        return cls(BASE, prompt, seed=0, temperature=0.0, max_tokens=max_tokens)


@dataclass(frozen=True, slots=True)
class Completion:
    text: str
    tokens: int
    finished: bool
    refused: str = ""
    """Why this request cannot be served at all, when it cannot."""
    worker: str = ""


@dataclass(frozen=True)
class Grade:
    """A task's answers, judged: one verdict per question, and the reward they make."""

    verdicts: tuple[float, ...]
    reward: float


class DataError(ValueError):
    """This self-edit, text or task cannot be used; the message says which and why. Recorded, not retried."""


class UserError(ValueError):
    """Something the user can fix: one line that says what, where and what to do. Exit code 2."""


def content_key(*parts: Any) -> str:
    """A short hash that is equal for equal content, on every machine and in every process."""
    return hashlib.sha256(_CANONICAL.encode(parts).encode()).hexdigest()[:24]


def content_of(value: Any) -> dict[str, Any]:
    """A dataclass's fields; `asdict` would copy everything below them too, and every trial's key would pay for it."""
    content, kind = {}, cast(Hashable, type(value))
    for name, left_out in _layout(kind):
        part = getattr(value, name)
        if left_out is _NOTHING or part != left_out:
            content[name] = part
    return content


_NOTHING = object()


@cache
def _layout(kind: Any) -> tuple[tuple[str, Any], ...]:
    """The fields of a class of which keys are made, each with the value at which it is no part of them."""
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} has no content to make a key of")
    return tuple((each.name, each.default if each.metadata else _NOTHING) for each in fields(kind))


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=content_of)  # made once: keys are many


def derive_seed(*parts: Any) -> int:
    """A 63-bit seed that depends on the parts' content and nothing else."""
    return int(content_key("seed", *parts)[:15], 16)
