"""The configuration of a run: one typed tree, read from TOML, overridden by `--section.key value`.

    config = load("jobs/microworld.toml", ["--run.seed", "2"])

A file may extend another (`extends = "other.toml"`), and overlays may be laid on it: see `seal_ray.layers`. Relative
paths in a file start at the folder of the file that says them, those of overrides where the command is given.

Unknown keys are refused with the nearest known one named. What a run resolved to is written beside its
journal, and a later run in that directory must resolve to the same.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seal_ray import plugins
from seal_ray.layers import EXTENDS, file_layers, merged, said_by
from seal_ray.record.schema import renamed
from seal_ray.sources import anchor, at
from seal_ray.types import LoraSpec, OptimSpec, UserError

_TASKS, _REPEATS, _TOKENS, _WORKERS = 10_000_000, 10_000, 10_000_000, 100_000
"""No run is larger; a number beyond these is a slip of the hand, which would otherwise end in hours or in memory."""
SEQUENCES_AT_ONCE = 8
"""Of passages that are learnt continually: each needs its own policy in every worker's memory."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


class Run(Section):
    dir: str = ""
    """Where the run lives: a path, from where the command is given, or `s3://`, `gs://`. Empty: `runs/NAME-SEED`."""
    name: str = Field("run", pattern=r"^\w[\w .,+=@-]{0,99}$")
    """What the run is called; part of its directory's name where no directory is given."""
    seed: int = 1
    """Of everything that is drawn: tasks, self-edits, trials, updates."""
    rounds: int = Field(2, ge=0, le=10_000)
    """Rounds of sample, try, select, update. 0 only evaluates."""
    observers: tuple[str, ...] = ()
    """Who else is told what happens: `jsonl`, `tensorboard`, or your own as `package.module:Thing`."""


class Model(Section):
    path: str
    """A Hugging Face model: hub name, local folder, or a folder in object storage (`s3://`, `gs://`), which every node
    copies once; or the name of a base that ships with the package."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; a run keeps to the commit it began with."""
    dtype: Literal["bfloat16", "float16", "float32", "float64"] = "bfloat16"
    """Precision of the base. Adapters and their optimiser are kept in float32, or float64."""
    max_length: int = Field(2048, ge=8, le=_TOKENS)
    """Longest training text in tokens; longer ones are cut, and said so."""


class DomainSection(Section):
    name: str
    """`microworld`, `knowledge`, `arc`, `arcworld`, or your own as `package.module:Thing`."""
    options: dict[str, Any] = {}
    """The domain's own settings, such as the files it reads; `--dry-run` shows all of them with their defaults."""
    train: int = Field(32, ge=0, le=_TASKS)
    """Training tasks per round; 0 takes all."""
    test: int = Field(32, ge=0, le=_TASKS)
    """Held-out tasks; 0 takes all."""
    fresh: bool = False
    """Draw new training tasks each round, in place of the same ones again."""
    skip_solved: bool = False
    """Leave out training tasks that are wholly solved when asked without any training: every self-edit earns there."""


class Sampling(Section):
    engine: str = "auto"
    """`auto`, `vllm`, `transformers` or `endpoint`."""
    per_task: int = Field(5, ge=1, le=_REPEATS)
    """Self-edits written for each training task."""
    temperature: float = Field(1.0, ge=0, le=100)
    """Of the sampling of self-edits; 0 always takes the likeliest token."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Sample only among the likeliest tokens that together have this probability."""
    max_tokens: int = Field(1024, ge=1, le=_TOKENS)
    """Longest self-edit; a longer one is cut off and used as far as it goes."""
    context: int = Field(0, ge=0, le=_TOKENS)
    """Tokens of prompt and completion that vLLM makes room for; 0 takes the model's own limit."""
    endpoint: str = ""
    """Base URL of an OpenAI-compatible server, for `engine = "endpoint"`."""
    endpoint_model: str = ""
    """The model's name at that server."""
    key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the endpoint's key."""
    timeout: float = Field(600.0, gt=0)
    """Seconds that the endpoint has for one request."""
    patience: float = Field(1800.0, ge=0)
    """Seconds that the endpoint may be away before the run ends; the same command continues it."""


class Questions(Section):
    """Who writes questions for passages that came without any: a server, or without one the base model itself."""

    endpoint: str = ""
    """Base URL of an OpenAI-compatible server."""
    endpoint_model: str = ""
    """The model's name at that server."""
    key_env: str = ""
    """Environment variable that holds its key; empty for a server that asks for none."""
    patience: float = Field(1800.0, ge=0)
    """Seconds that the server may be away before the run ends; the same command continues it."""


class _Training(Section):
    @model_validator(mode="before")
    @classmethod
    def _one_target(cls, tree: Any) -> Any:
        """One target may be given as itself, as in PEFT: `targets = "all-linear"`."""
        lora = tree.get("lora") if isinstance(tree, dict) else None
        if isinstance(lora, dict) and isinstance(lora.get("targets"), str):
            return {**tree, "lora": {**lora, "targets": [lora["targets"]]}}
        return tree


class TrialSection(_Training):
    lora: LoraSpec = LoraSpec()
    optim: OptimSpec = OptimSpec()
    seeds: int = Field(3, ge=1, le=_REPEATS)
    """Trials of each self-edit: a seed is a noisy judge."""
    start: Literal["policy", "base"] = "policy"
    """What a trial's adapter is trained on: the current policy, as in the paper, or the untouched base."""
    answer_tokens: int = Field(64, ge=1, le=_TOKENS)
    """Longest answer to a question."""
    eval_engine: Literal["bank", "vllm"] = "bank"
    """Who asks a trial's questions: the bank that trained it, which was measured faster, or the samplers' vLLM."""


class Selection(Section):
    rule: str = "best"
    """`best`, `positive`, `random` (the control), `usable` (any, untried), or your own as `package.module:function`."""
    race: int = Field(0, ge=0, le=_REPEATS * _REPEATS)
    """Trials per task, handed out where they can change the choice; 0 gives every self-edit all seeds."""


class Update(_Training):
    lora: LoraSpec = LoraSpec(
        rank=64,
        alpha=128.0,
        targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    )
    optim: OptimSpec = OptimSpec(lr=3e-4, epochs=2, batch_size=10)
    rule: str = "sft"
    """`sft` (ReST-EM: learn to write what was kept), `dpo` (prefer it to the worst of the same task), or your own as
    `package.module:Thing`."""
    options: dict[str, Any] = {}
    """The rule's own settings, such as the `beta` of `dpo`."""
    kl_coef: float = Field(0.0, ge=0, le=1e6)
    """Weight, beside the loss, of how far the policy's answers to the round's questions move: learning to write should
    not cost it what trials that start from it build on. 0 lets them move, as in the paper."""
    max_rank: int = Field(0, ge=0, le=65_536)
    """Compress the policy's summed adapters to this rank after each round, error reported; 0 never does."""


class Evaluation(Section):
    baselines: tuple[str, ...] = ("base", "passage only")
    """What every round is shown beside, by the domain's names; `untrained self-edits` comes with any samples."""
    samples: int = Field(1, ge=0, le=_REPEATS)
    """Self-edits sampled per held-out task."""
    seeds: int = Field(1, ge=1, le=_REPEATS)
    """Trials of each of them."""
    every_round: bool = True
    """Measure the self-edits before the first round and after each one; or only after the last."""
    joint: bool = False
    """Train one adapter on all held-out tasks at once (continued pretraining), in place of one for each."""
    full_finetune: bool = False
    """With `joint`: train all weights, in place of an adapter. Takes 16 bytes a weight, and the activations."""

    @model_validator(mode="after")
    def _full_goes_together(self) -> Self:
        if self.full_finetune and not self.joint:
            raise ValueError("full_finetune trains all weights on all texts at once; set joint = true too")
        return self


class Continual(Section):
    """Passages that arrive one after another, each learnt on top of all before; measured after the last round."""

    sequences: int = Field(0, ge=0, le=_REPEATS)
    """Orders of passages to go through; 0: none."""
    passages: int = Field(8, ge=1, le=_REPEATS)
    """Held-out passages in each."""


class Grading(Section):
    name: str = "domain"
    """`domain` (its own default), `exact`, `f1`, `offline`, `judge`, `likelihood` (of held-out statements, no questions
    asked), or your own as `package.module:Thing`."""
    options: dict[str, Any] = {}
    """The grader's own settings, such as a judge's endpoint."""


IN_PROCESS = "in-process"


class Workers(Section):
    address: str = ""
    """Ray cluster to join; empty: `RAY_ADDRESS`, the one this process runs in, or a new one here. `in-process`: no Ray,
    one trainer and one sampler in the driver's own process, where a debugger stops in a trial."""
    trainers: int = Field(1, ge=1, le=_WORKERS)
    """Workers that hold the base and try self-edits: the most that are used, they come and go with the cluster."""
    samplers: int = Field(1, ge=1, le=_WORKERS)
    """Workers that write self-edits, likewise."""
    slots: int = Field(16, ge=1, le=4096)
    """Adapters one trainer works on at a time; fewer where memory is short."""
    tokens_in_flight: int = Field(524_288, ge=1, le=100 * _TOKENS)
    """Tokens, of prompts and of what may be written, that one sampler holds at a time; more wait, or start another."""
    allocation: Literal["fixed", "auto"] = "fixed"
    """`fixed`: as many trainers and samplers as said. `auto`: so many in the first round, and after each the same
    GPUs (or CPUs) are dealt out anew by how long either kind was busy."""
    max_tokens_per_microbatch: int = Field(0, ge=0, le=_TOKENS)
    """Tokens in one pass; 0 plans them from what the first pass keeps and what memory is free; at most 16,384."""
    min_tokens_per_replica: int = Field(8192, ge=1, le=100 * _TOKENS)
    """Tokens of each batch of an update that a trainer must get for one more to share in it. Every step passes an
    adapter's gradients around, which takes an H100 as long as some 8,000 tokens do at rank 64."""
    cpus: float = Field(1, ge=0, le=1024)
    """CPUs each worker asks Ray for; its threads follow."""
    gpus_per_trainer: float = Field(0, ge=0, le=64)
    """GPUs each trainer asks Ray for; a fraction shares one."""
    gpus_per_sampler: float = Field(0, ge=0, le=64)
    """GPUs each sampler asks Ray for; several hold one large model together."""


class Config(Section):
    """A whole run."""

    run: Run = Run()
    model: Model
    domain: DomainSection
    sampling: Sampling = Sampling()
    questions: Questions = Questions()
    trial: TrialSection = TrialSection()
    selection: Selection = Selection()
    update: Update = Update()
    evaluation: Evaluation = Evaluation()
    continual: Continual = Continual()
    grading: Grading = Grading()
    workers: Workers = Workers()

    @model_validator(mode="after")
    def _in_process_the_bank_asks(self) -> Self:
        if self.workers.address == IN_PROCESS and self.trial.eval_engine == "vllm":
            raise ValueError('workers.address = "in-process" needs trial.eval_engine = "bank"')
        return self

    @model_validator(mode="after")
    def _continual_is_on_the_policy(self) -> Self:
        if self.continual.sequences and self.trial.start == "base":
            raise ValueError('continual learns each passage on top of those before; it needs trial.start = "policy"')
        return self

    @property
    def dir(self) -> str:
        return self.run.dir or f"runs/{self.run.name}-{self.run.seed}"

    def identity(self) -> dict[str, Any]:
        """What decides a run's results. Where it lives and on how many workers is not part of it."""
        tree = self.model_dump(mode="json", exclude={"workers": True, "run": {"dir", "observers"}})
        for section in ("sampling", "questions"):
            tree[section] = {k: v for k, v in tree[section].items() if k not in ("key_env", "timeout", "patience")}
        return tree


def load(path: str | Path, overrides: Sequence[str] = (), overlays: Sequence[str | Path] = ()) -> Config:
    """Read a TOML file with all that it extends, lay overlays on it, and apply `--section.key value` overrides.

    `UserError` says what is wrong and where.
    """
    from seal_ray.domains.registry import paths_under  # which options are paths, only their owners know

    layers = file_layers(path)
    for overlay in overlays:
        layers += file_layers(overlay)
    plugins.beside(layer.folder for layer in reversed(layers))
    given = list(_pairs(overrides))
    if any(keys == [EXTENDS] for keys, _ in given):
        raise UserError(f"--{EXTENDS}: a file extends another; on the command line, lay one on it with --overlay FILE")
    paths = paths_under([*(layer.tree for layer in layers), *(_put({}, keys, value) for keys, value in given)])
    for layer in layers:
        anchor(layer.tree, paths, layer.folder)
    tree = merged(layer.tree for layer in layers)
    for keys, value in given:
        own = _put({}, keys, value)
        anchor(own, paths, Path.cwd())
        _put(tree, keys, at(own, keys))
    return _parse(tree, lambda keys: said_by(layers, keys))


def parse(tree: dict[str, Any], where: str) -> Config:
    """A tree as a `Config`, or a `UserError` naming every wrong key."""
    return _parse(tree, lambda _: where)


def _parse(tree: dict[str, Any], where: Callable[[Sequence[Any]], str]) -> Config:
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        wrong: list[dict[str, Any]] = [dict(item) for item in error.errors()]
        raise UserError("; ".join(f"{where(item['loc'])}: {_explain(item)}" for item in wrong)) from None


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """One line per setting that differs between two identities."""
    before, after = dict(_flatten(old)), dict(_flatten(new))
    keys = sorted(before.keys() | after.keys())
    return [f"{k}: {before.get(k)!r} -> {after.get(k)!r}" for k in keys if before.get(k) != after.get(k)]


def _explain(item: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        if new := renamed(path):
            return f"{path!r} is called {new!r} now"
        known = _known_keys(item["loc"][:-1])
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        whole = ".".join([*path.split(".")[:-1], *near])
        hint = f"did you mean {whole!r}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {path!r}; {hint}"
    if item["type"] == "missing":
        return f"{path!r} is missing"
    return f"{path!r}: {item['msg'][:1].lower()}{item['msg'][1:]} (got {item['input']!r})"


def _known_keys(path: Sequence[Any]) -> list[str]:
    model: Any = Config
    for part in path:
        model = _fields(model).get(str(part), None)
        model = getattr(model, "annotation", model)
    return sorted([*_fields(model), *([] if path else [EXTENDS])])


def _fields(model: Any) -> dict[str, Any]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return dict(model.model_fields)
    return {field.name: field.type for field in fields(model)} if is_dataclass(model) else {}


def _pairs(overrides: Sequence[str]) -> Iterator[tuple[list[str], Any]]:
    rest = list(overrides)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--") or flag == "--":
            raise UserError(f"unexpected argument {flag!r}; settings are given as --section.key value")
        name, equals, inline = flag[2:].partition("=")
        if not equals and not rest:
            raise UserError(f"{flag} needs a value, as in {flag} VALUE")
        yield name.replace("-", "_").split("."), _value(inline if equals else rest.pop(0))


def _value(text: str) -> Any:
    """Numbers, booleans, null and lists as JSON writes them; anything else is a string."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    section = tree
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise UserError(f"--{'.'.join(keys)}: {key!r} is a value, not a section")
    section[keys[-1]] = value
    return tree


def _flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, tree
