"""The sections of a config: every setting with its type, its default and its sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from seal_ray.plain import counted
from seal_ray.types import Bounds, LoraSpec, OneOrMore, OptimSpec

_TASKS, _REPEATS, _TOKENS, _WORKERS = 10_000_000, 10_000, 10_000_000, 100_000
"""No run is larger; a number beyond these is a slip of the hand, which would otherwise end in hours or in memory."""
SEQUENCES_AT_ONCE = 8
"""How many continual sequences are learnt at once: each needs its own policy in every worker's memory."""


class Section:
    __pydantic_config__: ClassVar = {"extra": "forbid", "coerce_numbers_to_str": True, "allow_inf_nan": False}
    """What may be given for it, in TOML or on a command line. Made in Python, it is held to that when a run begins."""


@dataclass(frozen=True, kw_only=True)
class Run(Section):
    dir: str = ""
    """Where the run lives: a path, from where the command is given, or `s3://`, `gs://`. Empty: `runs/NAME-SEED`."""
    name: Annotated[str, Bounds(pattern=r"^\w[\w .,+=@-]{0,99}$")] = "run"
    """What the run is called; part of its directory's name where no directory is given."""
    seed: int = 1
    """Seed of everything that is drawn: tasks, self-edits, trials, updates."""
    rounds: Annotated[int, Bounds(ge=0, le=10_000)] = 2
    """Rounds of sample, try, select, update. 0 only evaluates."""
    observers: tuple[str, ...] = ()
    """Who else is told what happens: the trackers `tensorboard`, `wandb`, `mlflow`, `trackio` and `jsonl`, or your own
    as `package.module:Thing`."""
    logs: Literal["text", "json"] = "text"
    """How what is logged is written below the run's directory: `logs/run.log` for people, or `logs/run.jsonl`, a JSON
    object a line with the time, the logger, and the run, round, task and trial where they are known."""


@dataclass(frozen=True, kw_only=True)
class Model(Section):
    path: str
    """A Hugging Face model: hub name, local folder, or a folder in object storage (`s3://`, `gs://`), which every node
    copies once; a single GGUF file (`x.gguf`) here or there, which every node converts once; or the name of a base that
    ships with the package."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; a run keeps to the commit it began with."""
    dtype: Literal["auto", "bfloat16", "float16", "float32", "float64"] = "auto"
    """Precision of the base; adapters and their optimiser are kept in float32, or float64. `auto`: bfloat16 where the
    machine of the first trainer multiplies it in hardware, else float32, and the run keeps to that."""
    quantization: Literal["none", "int8", "nf4"] = "none"
    """Whether the base's linear layers are kept in 8 or 4 bits (the extra `quantized`), for a half or a quarter of the
    memory; adapters and the output head are not. vLLM writes with the base as it is."""
    max_length: Annotated[int, Bounds(ge=8, le=_TOKENS)] = 2048
    """Longest training text in tokens; longer ones are cut, and said so."""


@dataclass(frozen=True, kw_only=True)
class DomainSection(Section):
    name: str
    """`microworld`, `knowledge`, `arc`, `arcworld`, or your own as `package.module:Thing`."""
    options: dict[str, Any] = field(default_factory=dict)
    """The domain's own settings, such as the files it reads; `--dry-run` shows all of them with their defaults."""
    train: Annotated[int, Bounds(ge=0, le=_TASKS)] = 32
    """Training tasks per round; 0 takes all."""
    test: Annotated[int, Bounds(ge=0, le=_TASKS)] = 32
    """Held-out tasks; 0 takes all."""
    fresh: bool = False
    """Draw new training tasks each round, instead of the same ones again."""
    skip_solved: bool = False
    """Leave out training tasks that are wholly solved without any training: every self-edit earns there."""


@dataclass(frozen=True, kw_only=True)
class Sampling(Section):
    engine: str = "auto"
    """`auto`, `vllm`, `transformers` or `endpoint`."""
    per_task: Annotated[int, Bounds(ge=1, le=_REPEATS)] = 5
    """Self-edits written for each training task."""
    temperature: Annotated[float, Bounds(ge=0, le=100)] = 1.0
    """Temperature of the sampling of self-edits; 0 always takes the likeliest token."""
    top_p: Annotated[float, Bounds(gt=0, le=1)] = 1.0
    """Sample only among the likeliest tokens that together have this probability."""
    max_tokens: Annotated[int, Bounds(ge=1, le=_TOKENS)] = 1024
    """Longest self-edit; a longer one is cut off and used as far as it goes."""
    context: Annotated[int, Bounds(ge=0, le=_TOKENS)] = 0
    """Tokens of prompt and completion that vLLM makes room for; 0 takes the model's own limit."""
    endpoint: str = ""
    """Base URL of an OpenAI-compatible server, for `engine = "endpoint"`."""
    endpoint_model: str = ""
    """The model's name at that server."""
    key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the endpoint's key."""
    strategies: Annotated[tuple[Annotated[str, Bounds(min_length=1)], ...], OneOrMore] = ()
    """What self-edits are asked to be, by the names of the domain's own styles or of your templates
    (docs/methods.md#strategies): all in even shares in the first round, then by what they gained per token. Empty: as
    the domain asks."""
    playbook: Annotated[int, Bounds(ge=0, le=64)] = 0
    """Hints for writing self-edits that are in force at once (docs/methods.md#a-playbook): the policy writes them from
    what taught most and least, half of a round's self-edits are asked for with one, and one that does not pay is
    dropped. 0: none."""
    hints: Annotated[tuple[Annotated[str, Bounds(min_length=1)], ...], OneOrMore] = ()
    """Hints of your own, a line each, which are in the playbook from the first round on."""
    timeout: Annotated[float, Bounds(gt=0)] = 600.0
    """Seconds that the endpoint has for one request."""
    patience: Annotated[float, Bounds(ge=0)] = 1800.0
    """Seconds that the endpoint may be away before the run ends; the same command continues it."""

    def __post_init__(self) -> None:
        if len(self.hints) > self.playbook:
            raise ValueError(
                f"playbook = {self.playbook} has no room for {counted(len(self.hints), 'hint')}; set a larger one"
            )
        if self.playbook and self.strategies:
            raise ValueError("playbook and strategies both say how self-edits are asked for; leave one of them out")
        if self.playbook and self.per_task < 2:
            raise ValueError("playbook holds self-edits with a hint to others of their task; set per_task = 2 or more")


@dataclass(frozen=True, kw_only=True)
class Questions(Section):
    """Who writes questions for passages that came without any: a server, or without one the base model itself."""

    endpoint: str = ""
    """Base URL of an OpenAI-compatible server."""
    endpoint_model: str = ""
    """The model's name at that server."""
    key_env: str = ""
    """Environment variable that holds its key; empty for a server that needs none."""
    patience: Annotated[float, Bounds(ge=0)] = 1800.0
    """Seconds that the server may be away before the run ends; the same command continues it."""


NO_PRESET = "none"


@dataclass(frozen=True, kw_only=True)
class TrialSection(Section):
    preset: str = NO_PRESET
    """Settings that fit the model, below what is said here: `auto` for those measured with the model most like it, the
    name of one in `seal_ray/settling/presets.toml`, or `none`."""
    preset_leaves: tuple[str, ...] = ()
    """Settings that the preset leaves as they are. What a file or the command line says is one of them anyhow."""
    lora: LoraSpec = LoraSpec()
    optim: OptimSpec = OptimSpec()
    seeds: Annotated[int, Bounds(ge=1, le=_REPEATS)] = 3
    """Trials of each self-edit: a seed is a noisy judge."""
    start: Literal["policy", "base"] = "policy"
    """What a trial's adapter is trained on: the current policy, as in the paper, or the untouched base."""
    answer_tokens: Annotated[int, Bounds(ge=1, le=_TOKENS)] = 64
    """Longest answer to a question."""
    eval_engine: Literal["bank", "vllm"] = "bank"
    """What answers a trial's questions: the bank that trained it, which was measured faster, or the samplers' vLLM."""


_Weight = Annotated[float, Bounds(ge=-1e6, le=1e6)]


@dataclass(frozen=True, kw_only=True)
class Reward(Section):
    """What self-edits are chosen by: a sum of parts, each times its weight. On record of a trial is the gain."""

    gain: _Weight = 1.0
    """Of what a trial's answers earned."""
    memory: Annotated[float, Bounds(ge=0, le=1e6)] = 0.0
    """Of how much of what was known before a trial leaves, which is minus what it costs in nats a token; 0 asks for
    nothing of before, as in the paper."""
    length: _Weight = 0.0
    """Of a token of the self-edit; below 0, shorter ones are preferred."""
    format: _Weight = 0.0
    """Of the share of its lines that say something, and not what a line before them has said."""
    cost: _Weight = 0.0
    """Of a token that the trial trained on, over all epochs; below 0, cheaper ones are preferred."""
    own: dict[str, _Weight] = field(default_factory=dict)
    """Of parts of your own, by `package.module:Thing`: functions of a self-edit and of what came of a trial."""


@dataclass(frozen=True, kw_only=True)
class Selection(Section):
    rule: str = "best"
    """`best`, `positive`, `cover` (few that together teach every question that any teaches), `kinds` (the best of each
    strategy), `random` (the control), `usable` (any, untried), or your own as `package.module:function`."""
    race: Annotated[int, Bounds(ge=0, le=_REPEATS * _REPEATS)] = 0
    """Trials per task, handed out where they can change the choice; 0 gives every self-edit all seeds."""
    foresee: Annotated[float, Bounds(ge=0, le=1)] = 0.0
    """From the second round on, a task's self-edits are tried one after another, the most promising first by what is
    known from the rounds before, as long as the next one promises to add so much to the best; 0 tries all."""
    reward: Reward = Reward()

    def __post_init__(self) -> None:
        if self.race and self.foresee:
            raise ValueError("race and foresee both say which self-edits are tried; leave one of them out")


@dataclass(frozen=True, kw_only=True)
class Update(Section):
    lora: LoraSpec = LoraSpec(
        rank=64,
        alpha=128.0,
        targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    )
    optim: OptimSpec = OptimSpec(lr=3e-4, epochs=2, batch_size=10)
    rule: str = "sft"
    """`sft` (ReST-EM: learn to write what was kept), `weighted` (learn all that taught, the better the more), `dpo`
    (prefer what was kept to the worst of the same task), `grpo` (policy gradient on the rewards), `none` (the policy
    stays as it is: the best of so many), or your own as `package.module:Thing`."""
    options: dict[str, Any] = field(default_factory=dict)
    """The rule's own settings: `by` and `temperature` of `weighted`, `beta` of `dpo`, `clip` of `grpo`."""
    warm_start: str = ""
    """A JSONL file of examples of self-edits (docs/extending.md), on which the policy is trained before the first
    round; empty: none."""
    kl_coef: Annotated[float, Bounds(ge=0, le=1e6)] = 0.0
    """Weight, beside the loss, of how far the policy's answers to the round's questions move: learning to write should
    not cost it what trials that start from it build on. 0 lets them move, as in the paper."""
    max_rank: Annotated[int, Bounds(ge=0, le=65_536)] = 0
    """Compress the policy's summed adapters to this rank after each round, error reported; 0 never does."""


@dataclass(frozen=True, kw_only=True)
class Evaluation(Section):
    baselines: tuple[str, ...] = ("base", "passage only")
    """What every round is shown beside, by the domain's names; `untrained self-edits` comes with any samples."""
    samples: Annotated[int, Bounds(ge=0, le=_REPEATS)] = 1
    """Self-edits sampled per held-out task."""
    seeds: Annotated[int, Bounds(ge=1, le=_REPEATS)] = 1
    """Trials of each of them."""
    every_round: bool = True
    """Measure the self-edits before the first round and after each one; or only after the last."""
    joint: bool = False
    """Train one adapter on all held-out tasks at once (continued pretraining), instead of one for each."""
    full_finetune: bool = False
    """With `joint`: train all weights instead of an adapter. Takes 16 bytes a weight, and the activations."""
    methods: tuple[Annotated[str, Bounds(min_length=1)], ...] = ()
    """Ways to learn a held-out text, side by side after the last round: those of docs/methods.md, your own as
    `package.module:Thing`, or an adapter from elsewhere as `external:FOLDER`, a PEFT folder."""
    texts: Annotated[tuple[Annotated[int, Bounds(ge=1, le=_REPEATS)], ...], Bounds(min_length=1)] = (5,)
    """How many texts each method may have written of a task; each number of them is measured."""
    budgets: tuple[Annotated[int, Bounds(ge=1, le=_TOKENS)], ...] = ()
    """Tokens that each method may have written of a task: as many texts as stay within them. Each is measured too."""
    trained_budgets: tuple[Annotated[int, Bounds(ge=1, le=_TOKENS)], ...] = ()
    """Tokens that each method may train on of a task, over all epochs, the task's own text included: as many texts as
    stay within them. Each is measured too."""
    joint_methods: bool = False
    """Measure each method also with one adapter for all held-out texts at once."""

    OF_METHODS: ClassVar = ("methods", "texts", "budgets", "trained_budgets", "joint_methods")
    """What nothing else depends on, so that it may change from one command to the next."""

    def __post_init__(self) -> None:
        if self.full_finetune and not self.joint:
            raise ValueError("full_finetune trains all weights on all texts at once; set joint = true too")


@dataclass(frozen=True, kw_only=True)
class Generated(Section):
    """The network of the methods `generated…`, which writes a passage's adapter in one pass (docs/methods.md).

    What it writes sits on the modules that trials adapt.
    """

    passages: Annotated[int, Bounds(ge=1, le=_TASKS)] = 4000
    """Training passages that it learns from, in as many draws as that takes; fewer where the domain has no more."""
    steps: Annotated[int, Bounds(ge=1, le=_TASKS)] = 500
    """Steps of its training, each on eight passages."""
    lr: Annotated[float, Bounds(gt=0, le=10)] = 3e-3
    """Largest learning rate: it rises over a tenth of the steps, and then decays to zero."""
    rank: Annotated[int, Bounds(ge=1, le=8192)] = 32
    """Rank of the adapters that it writes."""


@dataclass(frozen=True, kw_only=True)
class Continual(Section):
    """Passages that arrive one after another, each learnt on top of all before; measured after the last round."""

    sequences: Annotated[int, Bounds(ge=0, le=_REPEATS)] = 0
    """Orders of passages to go through; 0: none."""
    passages: Annotated[int, Bounds(ge=1, le=_REPEATS)] = 8
    """How many held-out passages each order has; a run may go on with more."""
    order: Literal["drawn", "given"] = "drawn"
    """`drawn`: orders by the run's seed, of all that is held out. `given`: the one in which passages are listed."""
    ways: Annotated[tuple[Annotated[str, Bounds(min_length=1)], ...], Bounds(min_length=1), OneOrMore] = ("merge",)
    """How what was learnt enters the policy, each on the same orders: `none`, `merge` (the paper's), `last-layers`,
    `joint` (all so far at once), `replay`, `replay-last-layers`, `review`, `rehearse`, `kl`, `ema`, `sparse`,
    `orthogonal`, `gated`, `library` (an adapter for each passage), or your own as `package.module:Thing`."""
    writer: Literal["policy", "start"] = "policy"
    """Who writes of a passage that comes: the policy as it stands, as in the paper, or as it was at the beginning."""
    ask_every: Annotated[int, Bounds(ge=1, le=_REPEATS)] = 1
    """All passages are asked after every so many of them, and at the end; the newest one always."""

    def __post_init__(self) -> None:
        if self.order == "given" and self.sequences > 1:
            raise ValueError('order = "given" is one order; set sequences = 1')


@dataclass(frozen=True, kw_only=True)
class Grading(Section):
    name: str = "domain"
    """`domain` (its own default), `exact`, `f1`, `offline`, `judge`, `likelihood` (of held-out statements, no questions
    answered), or your own as `package.module:Thing`."""
    options: dict[str, Any] = field(default_factory=dict)
    """The grader's own settings, such as a judge's endpoint."""


IN_PROCESS = "in-process"


@dataclass(frozen=True, kw_only=True)
class Workers(Section):
    address: str = ""
    """Ray cluster to join; empty: `RAY_ADDRESS`, the one this process runs in, or a new one here. `in-process`: no Ray,
    one trainer and one sampler in the driver's own process, where a debugger stops in a trial."""
    trainers: Annotated[int, Bounds(ge=1, le=_WORKERS)] = 1
    """Workers that hold the base and try self-edits: the most that are used, they come and go with the cluster."""
    samplers: Annotated[int, Bounds(ge=1, le=_WORKERS)] = 1
    """Workers that write self-edits, likewise."""
    slots: Annotated[int, Bounds(ge=1, le=4096)] = 16
    """Adapters one trainer works on at a time; fewer where memory is short."""
    tokens_in_flight: Annotated[int, Bounds(ge=1, le=100 * _TOKENS)] = 524_288
    """Tokens, of prompts and of what may be written, that one sampler holds at a time; more wait, or start another."""
    allocation: Literal["fixed", "auto"] = "fixed"
    """`fixed`: as many trainers and samplers as said. `auto`: so many in the first round, and after each the same
    GPUs (or CPUs) are divided again by how long either kind was busy."""
    max_tokens_per_microbatch: Annotated[int, Bounds(ge=0, le=_TOKENS)] = 0
    """Tokens in one pass; 0 plans them from what the first pass keeps and what memory is free; at most 16,384 on a GPU,
    and on a CPU 2,048 or a whole text."""
    min_tokens_per_replica: Annotated[int, Bounds(ge=0, le=100 * _TOKENS)] = 0
    """Tokens of each batch of an update that a trainer must get for one more to share in it; 0 takes 8,192 on GPUs and
    128 on CPUs. Every step passes an adapter's gradients around, which takes an H100 as long as some 8,000 tokens do at
    rank 64."""
    cpus: Annotated[float, Bounds(ge=0, le=1024)] = 1
    """CPUs that each worker takes; its threads follow."""
    gpus_per_trainer: Annotated[float, Bounds(ge=0, le=64)] = 0
    """GPUs that each trainer takes; a fraction shares one."""
    gpus_per_sampler: Annotated[float, Bounds(ge=0, le=64)] = 0
    """GPUs that each sampler takes; several hold one large model together."""

    @property
    def tokens_per_replica(self) -> int:
        """`min_tokens_per_replica`, or what fits the device."""
        return self.min_tokens_per_replica or (8192 if self.gpus_per_trainer else 128)
