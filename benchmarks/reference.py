"""Tiny random models, a word tokenizer, and the reference: one trial at a time with PEFT and torch's own AdamW.

Tests hold the bank to it on a CPU, and `make gpu-check` on a GPU.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy, kl_div
from torch.nn.utils import clip_grad_norm_
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    get_scheduler,
)

from seal_ray.bank import Job, TokenText
from seal_ray.bank.lora import initial_weights, linear_modules, matching
from seal_ray.bank.optim import batch_order
from seal_ray.bank.prepare import anchor_batches
from seal_ray.types import LoraSpec, OptimSpec

WORDS = 60
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SHAPE: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE),
    "qwen2": Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SHAPE, tie_word_embeddings=True),
    "gemma": GemmaConfig(**SHAPE),
    "gemma2": Gemma2Config(**SHAPE | {"attn_implementation": "eager"}, sliding_window=5, query_pre_attn_scalar=8),
    "mistral": MistralConfig(**SHAPE, sliding_window=5),
}


def make_model(family: str = "llama", dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    """A random model, its weights large enough that its logits are far from uniform."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(CONFIGS[family], attn_implementation=_reference_attention(family))
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.2)
    return model.to(dtype).eval()


def _reference_attention(family: str) -> str:
    return "eager" if family == "gemma2" else "sdpa"


def make_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, ".": 4}
    vocabulary |= {f"w{number}": number for number in range(5, WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def make_texts(count: int, seed: int, low: int = 3, high: int = 14, prompts: bool = False) -> tuple[TokenText, ...]:
    """Random texts; with `prompts`, the first two tokens of each carry no loss."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        ids = [draw.randrange(5, WORDS) for _ in range(draw.randint(low, high))]
        texts.append(TokenText.of(ids[:2], ids[2:], learn_prompt=not prompts))
    return tuple(texts)


def make_prompts(count: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """Random prompts of mixed length."""
    draw = random.Random(seed)
    return tuple(tuple(draw.randrange(5, WORDS) for _ in range(draw.randint(1, 12))) for _ in range(count))


def recipes() -> list[Job]:
    """Eight jobs that differ in everything a recipe may choose."""
    rows: list[tuple[int, float, tuple[str, ...], OptimSpec, int, bool]] = [
        (2, 4.0, ("q_proj", "v_proj"), OptimSpec(1e-2, 10, 1, "linear"), 6, False),
        (8, 8.0, ALL, OptimSpec(5e-3, 25, 2, "cosine", warmup_steps=11), 5, True),
        (3, 12.0, ("up_proj", "down_proj"), OptimSpec(2e-2, 15, 4, "constant", weight_decay=0.1), 14, False),
        (16, 16.0, ALL, OptimSpec(1e-2, 60, 64, "linear", betas=(0.9, 0.98)), 9, False),
        (1, 1.0, ("o_proj",), OptimSpec(3e-2, 50, 1, "linear", warmup_steps=5), 1, True),
        (4, 2.0, ("q_proj", "gate_proj", "lm_head"), OptimSpec(8e-3, 18, 3, "cosine"), 8, True),
        (6, 12.0, ("k_proj", "v_proj", "o_proj"), OptimSpec(1e-2, 26, 5, "linear", clip_norm=0.05), 10, False),
        (5, 7.0, ("gate_proj", "up_proj"), OptimSpec(1e-2, 13, 1, "constant", eps=1e-6, clip_norm=0.0), 4, True),
    ]
    return [
        Job(
            key=f"job-{number}",
            texts=make_texts(count, seed=number, prompts=masked),
            lora=LoraSpec(rank, alpha, targets),
            optim=optim,
            seed=100 + number,
            keep_adapter=True,
            anchor_examples=make_texts(4, seed=50 + number) if number % 3 == 1 else (),
            kl_coef=3.0,
        )
        for number, (rank, alpha, targets, optim, count, masked) in enumerate(rows)
    ]


Loss = Callable[[PeftModel, Sequence[TokenText]], torch.Tensor]


def mean_loss(peft: PeftModel, texts: Sequence[TokenText]) -> torch.Tensor:
    """Cross-entropy over the learnt tokens, in the model's own precision; its own loss would be in float32."""
    inputs = padded(texts, peft.device)
    labels = inputs.pop("labels")
    return cross_entropy(peft(**inputs).logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def train_alone(model: Any, job: Job, loss_of: Loss = mean_loss, size: int = 1) -> tuple[PeftModel, list[float]]:
    """The reference: PEFT, right padding, AdamW, `get_scheduler`, `clip_grad_norm_`; `size` texts are one example."""
    assert job.texts is not None
    lora, optim, dtype = job.lora, job.optim, model.dtype
    start = initial_weights(matching(linear_modules(model), lora.targets), lora, job.seed)
    alpha: Any = lora.alpha  # PEFT takes a fraction too, whatever it says
    config = LoraConfig(r=lora.rank, lora_alpha=alpha, target_modules=list(lora.targets), lora_dropout=0.0)
    peft: Any = get_peft_model(model, config, autocast_adapter_dtype=False)
    for name, module in peft.base_model.model.named_modules():
        if isinstance(module, LoraLayer):
            pair: Any = module.lora_A["default"], module.lora_B["default"]
            pair[0].weight.data = start[name].to(model.device, dtype)
            pair[1].weight.data.zero_()
    peft.train()
    weights = [parameter for parameter in peft.parameters() if parameter.requires_grad]
    adamw = torch.optim.AdamW(weights, optim.lr, optim.betas, optim.eps, optim.weight_decay)
    batches = batch_order(len(job.texts) // size, optim, job.seed)
    held = anchor_batches(len(job.anchor_examples), len(batches), job) or [()] * len(batches)
    schedule = get_scheduler(optim.schedule if optim.warmup_steps or optim.schedule != "constant" else "constant",
                             adamw, optim.warmup_steps, len(batches))  # fmt: skip
    losses = []
    for batch, kept in zip(batches, held, strict=True):
        loss = loss_of(peft, [job.texts[size * index + n] for index in batch for n in range(size)])
        if kept:
            loss = loss + job.kl_coef * divergence(peft, [job.anchor_examples[index] for index in kept])
        loss.backward()
        if optim.clip_norm > 0:
            clip_grad_norm_(weights, optim.clip_norm)
        adamw.step()
        schedule.step()
        adamw.zero_grad()
        losses.append(loss.item())
    return peft.eval(), losses


def divergence(peft: PeftModel, texts: Sequence[TokenText]) -> torch.Tensor:
    """Of the learnt tokens' predictions from what they are without the adapter; the mean."""
    inputs = padded(texts, peft.device)
    learnt = inputs.pop("labels")[:, 1:].flatten() >= 0
    with torch.no_grad(), peft.disable_adapter():
        before = peft(**inputs).logits[:, :-1].flatten(0, 1)[learnt].log_softmax(-1)
    now = peft(**inputs).logits[:, :-1].flatten(0, 1)[learnt].log_softmax(-1)
    return kl_div(now, before, reduction="batchmean", log_target=True)


def padded(texts: Sequence[TokenText], device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """Texts as Transformers takes them, padded on the right."""
    width = max(len(text.ids) for text in texts)
    ids = torch.zeros(len(texts), width, dtype=torch.long)
    mask, labels = ids.clone(), torch.full_like(ids, -100)
    for row, text in enumerate(texts):
        size = len(text.ids)
        ids[row, :size] = torch.tensor(text.ids)
        mask[row, :size] = 1
        labels[row, :size] = torch.tensor(
            [token if learnt else -100 for token, learnt in zip(text.ids, text.learn, strict=True)]
        )
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device), "labels": labels.to(device)}


def peft_tensors(peft: PeftModel) -> dict[str, torch.Tensor]:
    """The adapter's weights under the names of a saved PEFT folder."""
    return {
        name.replace(".default", ""): parameter.detach()
        for name, parameter in peft.named_parameters()
        if "lora_" in name
    }
