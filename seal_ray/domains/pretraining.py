"""What both small worlds make their base models with: a tokenizer and a model, the training loop, and the gate."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from tokenizers import Tokenizer, models, processors
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
_WARMUP, _FLOOR = 80, 0.05
"""Steps over which the learning rate rises, and the share of it that is left at the end."""
_PRINTS = 40
"""Lines of progress where the output is no terminal."""

Gate = Mapping[str, tuple[float, float]]
"""For each figure, the least and the most that a base must reach to be shipped."""


def word_tokenizer(words: Sequence[str]) -> Tokenizer:
    """One token a word; every text begins with `<bos>`. How a text is cut into words is left to the caller."""
    vocabulary = {word: i for i, word in enumerate([*SPECIALS, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    return tokenizer


def for_transformers(tokenizer: Tokenizer, positions: int) -> PreTrainedTokenizerFast:
    """The tokenizer as Transformers saves and loads it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )


def small_llama(tokenizer: PreTrainedTokenizerFast, width: int, layers: int, tied: bool) -> LlamaForCausalLM:
    """A model 128 wide with 4 heads; `width` is that of its MLP, and `tied` its head to the embeddings."""
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        tie_word_embeddings=tied,
        **ids,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(**ids)
    return model


def train(
    model: LlamaForCausalLM,
    optimizers: Sequence[torch.optim.Optimizer],
    draw: Callable[[], tuple[torch.Tensor, str]],
    steps: int,
    out: Console,
) -> None:
    """Take so many steps, each down the loss that `draw` gives for a fresh batch, with what is to be shown of it."""

    def rate(step: int) -> float:
        if step < _WARMUP:
            return (step + 1) / _WARMUP
        return _FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * (step - _WARMUP) / max(1, steps - _WARMUP))) / 2

    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, rate) for optimizer in optimizers]
    columns = (*Progress.get_default_columns()[:-1], TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out) as progress:
        bar = progress.add_task("pretraining", total=steps)
        for step in range(1, steps + 1):
            loss, shown = draw()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
            progress.update(bar, advance=1, description=f"pretraining  {shown}")
            if step % max(1, steps // _PRINTS) == 0 and not out.is_terminal:
                out.print(f"{step}: {shown}")


@torch.no_grad()
def write(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], tokens: int, sample: bool
) -> list[str]:
    """What the model writes after each prompt, up to `tokens` tokens."""
    batch = tokenizer(list(prompts), return_tensors="pt", padding=True, return_token_type_ids=False)
    out = model.generate(**batch, max_new_tokens=tokens, do_sample=sample, top_k=0 if sample else None)  # type: ignore[misc]
    return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def missed(figures: Mapping[str, float], gate: Gate) -> list[str]:
    """Which of the figures miss the gate."""
    return [name for name, (least, most) in gate.items() if not least <= figures[name] <= most]


def make_base(
    folder: Path,
    make: Callable[[Console], tuple[LlamaForCausalLM, PreTrainedTokenizerFast]],
    check: Callable[[LlamaForCausalLM, PreTrainedTokenizerFast], dict[str, float]],
    gate: Gate,
    seed: int,
    steps: int,
    threads: int,
) -> None:
    """Train a base, save it with its figures, show them, and end the process: with an error if it misses the gate."""
    console = Console()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    model, tokenizer = make(console)
    figures = check(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "check.json").write_text(json.dumps({"seed": seed, "steps": steps, **figures}, indent=2) + "\n")
    wrong = missed(figures, gate)
    table = Table("what the base can do", "measured", "gate")
    for name, value in figures.items():
        bound = "{:.2f} to {:.2f}".format(*gate[name]) if name in gate else ""
        table.add_row(name, f"{value:.3f}", bound, style="red" if name in wrong else None)
    console.print(table)
    sys.exit(f"{folder}: the base misses the gate on {', '.join(wrong)}; try another --seed" if wrong else 0)
