"""What a bank is given and what it gives back, at the level of tokens. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seal_ray.adapters.lora import Adapter
from seal_ray.bank.rows import Distributions, Objective
from seal_ray.types import Failure, LoraSpec, OptimSpec


@dataclass(frozen=True)
class TokenText:
    """A text as tokens. `learn[i]` says whether token i is predicted (from those before it) with loss.

    The first token has nothing before it, so it never carries loss whatever its flag says.
    """

    ids: tuple[int, ...]
    learn: tuple[bool, ...]
    targets: Distributions | None = None
    """How likely tokens are at each place of the text, for the objective `SoftTargets`; None: its own token alone."""
    teacher: tuple[int, ...] = ()
    """What a teacher reads instead of all that comes before the first learnt token, for the objective `Distilled`."""
    weight: float = 1.0
    """What it counts beside others, whose loss is a mean over their tokens as if each counted 1; for `PolicyGradient`
    how much better than expected it was, which may be less than nothing."""

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.learn):
            raise ValueError(f"a text of {len(self.ids)} tokens has {len(self.learn)} learn flags; give one per token")
        if self.targets is not None and len(self.targets.tokens_TK) != len(self.ids):
            raise ValueError(f"a text of {len(self.ids)} tokens has {len(self.targets.tokens_TK)} distributions")

    @classmethod
    def of(cls, prompt_ids: Sequence[int], completion_ids: Sequence[int], learn_prompt: bool = False) -> TokenText:
        """Prompt and completion as one text; the loss covers the completion, and the prompt too if `learn_prompt`."""
        learn = (learn_prompt,) * len(prompt_ids) + (True,) * len(completion_ids)
        return cls((*prompt_ids, *completion_ids), learn)


@dataclass(frozen=True)
class Job:
    """A trial in tokens: train a fresh adapter on the texts, then answer the prompts greedily."""

    key: str
    texts: tuple[TokenText, ...] | None
    """What is trained on; None trains nothing and queries the model as it is."""
    lora: LoraSpec = field(default_factory=LoraSpec)
    optim: OptimSpec = field(default_factory=OptimSpec)
    seed: int = 0
    prompts: tuple[tuple[int, ...], ...] = ()
    max_new_tokens: int = 64
    stop: tuple[str, ...] = ()
    statements: tuple[TokenText, ...] = ()
    """Texts whose mean log-likelihood per learnt token is reported."""
    objective: Objective | None = None
    """What the texts are trained to, `CrossEntropy()` when None. Under `DPO` they come in pairs, the better first."""
    anchor_examples: tuple[TokenText, ...] = ()
    """Texts on which predictions are to stay what they are without the adapter, a batch of them at every step."""
    kl_coef: float = 0.0
    """Weight of their mean KL divergence beside the mean loss of the texts; 0 leaves them out."""
    keep_adapter: bool = False
    base: str = ""
    """Key of the resident adapter that lies under the job's own; the empty one is the untouched base."""
    reference: str | None = None
    """Key of the resident adapter that predictions of the statements are held against; None: they are not."""


@dataclass(frozen=True)
class JobResult:
    """What a job resulted in; everything but `failure` is empty when it failed."""

    key: str
    answers: tuple[tuple[int, ...], ...] = ()
    """Generated token ids, one tuple per prompt, without the end-of-text token."""
    answer_texts: tuple[str, ...] = ()
    """The generated texts, decoded, without special tokens and cut before the first stop string."""
    log_likelihoods: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    """One per training step: the objective's mean over that step's batch, before the update, and
    `kl_coef` times the mean divergence over the anchor examples of that step."""
    steps: int = 0
    tokens: int = 0
    """Tokens trained on, over all epochs; no padding is counted, for there is none."""
    seconds: float = 0.0
    """This job's share of the bank's time, by tokens."""
    adapter: Adapter | None = None
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    answers_cut: tuple[bool, ...] = ()
    """Whether each answer was cut off at its longest, before it ended by itself."""
    divergences: tuple[float, ...] = ()
    """Where the job has a reference, of each statement the mean over its learnt tokens of `KL(reference ‖ now)`."""


@dataclass(frozen=True)
class SampleSpec:
    """One completion to be sampled; the same spec gives the same text whatever is sampled beside it."""

    prompt: tuple[int, ...]
    seed: int
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    max_new_tokens: int = 1024
    stop: tuple[str, ...] = ()
    base: str = ""
    """Key of the resident adapter to sample under; the empty one is the untouched base."""


@dataclass(frozen=True)
class SampledText:
    ids: tuple[int, ...]
    text: str
    finished: bool
    """False when it was cut off by the token limit."""
