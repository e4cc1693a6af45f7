"""Make the grid world's base model from nothing:

    python -m seal_ray.domains.arcworld.pretrain --out DIR --seed 0

Every sequence is a few-shot puzzle of a family the base may know. Three fifths end in a solved grid, a fifth in a
uniformly drawn decision (so that the untrained policy writes valid self-edits and prefers none), a fifth in a
description of the rule. Only outputs carry loss, from the second demonstration on: the first cannot be known.
The result must pass the check below.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path
from typing import Any

import cyclopts
import torch
from rich.console import Console
from tokenizers import pre_tokenizers
from torch import nn
from torch.nn.utils import parametrize
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from seal_ray.domains.arcworld import decision, world
from seal_ray.domains.arcworld.world import Family, Part
from seal_ray.domains.pretraining import Gate, for_transformers, make_base, small_llama, train, word_tokenizer, write
from seal_ray.types import DataError

STEPS, BATCH = 2000, 32
MUON_LR, ADAM_LR = 4e-3, 2e-3
GATE: Gate = {
    "valid decisions": (0.98, 1.0),
    "rarest choice of a decision": (0.10, 1.0),
    "solves base move": (0.15, 1.0),
    "solves base swap": (0.95, 1.0),
    "solves base derange": (0.95, 1.0),
    "solves base paint": (0.95, 1.0),
    "solves test, all families": (0.0, 0.25),
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; a cell is one word, so that a plain decoder needs no second dimension."""
    cells = [world.cell_word(place, colour) for place, colour in world.every_cell()]
    cells += [word.upper() for word in cells]
    marks = [world.ARROW, world.NEXT, world.DECIDE, world.DESCRIBE]
    facets = [word for pair in world.FACETS for word in pair]
    tokenizer = word_tokenizer([*marks, *facets, *decision.words(), *cells])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return for_transformers(tokenizer, positions=128)


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The head is not tied to the embeddings: learning to decide needs one that can move."""
    return small_llama(tokenizer, width=384, layers=4, tied=False)


class Factored(nn.Module):
    """A table of word vectors in which a cell's is the sum of its place's, its colour's and its side's.

    Rules speak of these apart, so what is learnt of a colour in one place holds in all; sides are inputs and outputs.
    """

    def __init__(self, vocabulary: dict[str, int]) -> None:
        super().__init__()
        cells = {world.cell_word(i, c): (f"place {i}", f"colour {c}") for i, c in world.every_cell()}
        self.parts: dict[str, int] = {}
        own: dict[int, list[int]] = {}
        for word, index in sorted(vocabulary.items(), key=itemgetter(1)):  # a tokenizer tells them in no order
            cell = cells.get(word.lower())
            names = (*cell, "output" if word.isupper() else "input") if cell else (word,)
            own[index] = [self.parts.setdefault(name, len(self.parts)) for name in names]
        mix_VP = torch.zeros(len(vocabulary), len(self.parts))
        for index, numbers in own.items():
            mix_VP[index, numbers] = 1
        self.mix_VP: torch.Tensor
        self.register_buffer("mix_VP", mix_VP)

    def forward(self, parts_PI: torch.Tensor) -> torch.Tensor:
        return self.mix_VP @ parts_PI


def factor(model: LlamaForCausalLM, vocabulary: dict[str, int]) -> None:
    """Learn parts instead of whole words until `unfactor` writes plain tables."""
    module: Any
    for module, spread in ((model.get_input_embeddings(), 0.3), (model.get_output_embeddings(), 0.02)):
        table = Factored(vocabulary)
        parametrize.register_parametrization(module, "weight", table, unsafe=True)
        parts_PI = torch.randn(len(table.parts), model.config.hidden_size) * spread
        module.parametrizations.weight.original = nn.Parameter(parts_PI)
    wire(model)


def unfactor(model: LlamaForCausalLM) -> None:
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        parametrize.remove_parametrizations(module, "weight")


@torch.no_grad()
def wire(model: LlamaForCausalLM) -> None:
    """Start two heads of the first layer as lookups, which training would otherwise take most of its time to find.

    One brings to each output cell the colour its input cell has; the other brings the colour of the cell that is
    written next. A place matches a place in the dimensions that turn slowest with position; in two that turn faster,
    the pair at hand is told from the earlier ones. All of it may be unlearnt.
    """
    embeddings: Any = model.get_input_embeddings()
    weights = embeddings.parametrizations.weight
    part, parts_PI = weights[0].parts, weights.original
    dual_IP = torch.linalg.pinv(parts_PI)
    attention: Any = model.model.layers[0].self_attn
    size, half = attention.head_dim, attention.head_dim // 2
    speeds = 1.0 / 10_000.0 ** (torch.arange(half) / half)
    places = [half - 1 - i // 2 + half * (i % 2) for i in range(world.CELLS)]
    distance = world.CELLS + 1
    for head, (ahead, askers) in enumerate(((0, ("output",)), (1, ("output", world.ARROW)))):
        at = head * size
        for weight in (attention.q_proj, attention.k_proj, attention.v_proj):
            weight.weight[at : at + size] = 0
        query_OI, key_OI = attention.q_proj.weight[at : at + size], attention.k_proj.weight[at : at + size]
        for place in range(world.CELLS):
            key_OI[places[place]] += 3.5 * dual_IP[:, part[f"place {place}"]]
            asker = f"place {place - ahead}" if place >= ahead else world.ARROW
            query_OI[places[place]] += 3.5 * dual_IP[:, part[asker]]
        for turn in (3, 4):
            angle = (distance - ahead) * speeds[turn]
            key_OI[turn] += 3 * dual_IP[:, part["input"]]
            for asker in askers:
                query_OI[turn] += 3 * angle.cos() * dual_IP[:, part[asker]]
                query_OI[turn + half] -= 3 * angle.sin() * dual_IP[:, part[asker]]
        for colour in range(world.COLOURS):
            attention.v_proj.weight[at + colour] = dual_IP[:, part[f"colour {colour}"]]
            attention.o_proj.weight[:, at + colour] = torch.randn(len(parts_PI[0])) * 0.15


def draw_words(rng: random.Random) -> tuple[list[str], list[bool]]:
    """One sequence, and which of its words are learnt."""
    family = rng.choice(world.FAMILIES["base"])
    rule, pairs = world.draw_pairs(family, "base", rng)
    kind = rng.random()
    ending: list[str] = []
    if kind < 0.2:
        ending = [world.DECIDE, *decision.draw(rng).split()]
    elif kind < 0.4:
        ending = [world.DESCRIBE, *rule.description().split()]
    found, learnt = ["<bos>"], [False]
    for i, (given, wanted) in enumerate(pairs[: world.DEMOS] if ending else pairs):
        shown = [*world.write_input(given).split(), world.ARROW]
        output = world.write_output(wanted).split()
        last = i == world.DEMOS
        found += [*shown, *output, "<eos>" if last else world.NEXT]
        learnt += [False] * len(shown) + [i > 0] * len(output) + [last]
    if ending:
        found += [*ending, "<eos>"]
        learnt += [False] + [True] * len(ending)
    return found, learnt


def draw_batch(vocabulary: dict[str, int], rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """Input ids and labels, right-padded; what is only read carries no loss."""
    rows = [draw_words(rng) for _ in range(BATCH)]
    width = max(len(found) for found, _ in rows)
    ids = torch.full((BATCH, width), vocabulary["<pad>"])
    labels = torch.full((BATCH, width), -100)
    for row, (found, learnt) in enumerate(rows):
        line = torch.tensor([vocabulary[word] for word in found])
        ids[row, : len(line)] = line
        labels[row, : len(line)] = torch.where(torch.tensor(learnt), line, -100)
    return ids, labels


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal, as `torch.optim.Muon`, but in float32: CPUs without bfloat16 take thrice as long.

    `seal_ray/domains/microworld/pretrain.py` stacks its matrices, which rounds otherwise: the base shipped here was
    made by this one.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight_OI in group["params"]:
                mean_OI = self.state[weight_OI].setdefault("mean_OI", torch.zeros_like(weight_OI))
                mean_OI.lerp_(weight_OI.grad, 1 - group["momentum"])
                ahead_OI = weight_OI.grad.lerp(mean_OI, group["momentum"])
                weight_OI.mul_(1 - group["lr"] * 0.01)
                weight_OI.sub_(orthogonal(ahead_OI), alpha=group["lr"] * 0.2 * max(weight_OI.shape) ** 0.5)


def orthogonal(matrix_OI: torch.Tensor) -> torch.Tensor:
    """The nearest matrix whose singular values are about 1, by five Newton-Schulz steps."""
    tall = matrix_OI.shape[0] > matrix_OI.shape[1]
    found_OI = matrix_OI.T if tall else matrix_OI
    found_OI = found_OI / (found_OI.norm() + 1e-7)
    for _ in range(5):
        square_OO = found_OI @ found_OI.T
        found_OI = 3.4445 * found_OI + (2.0315 * square_OO @ square_OO - 4.775 * square_OO) @ found_OI
    return found_OI.T if tall else found_OI


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    named = dict(model.named_parameters())
    hidden = [name for name, p in named.items() if p.ndim == 2 and "embed" not in name and "head" not in name]
    rest = [p for name, p in named.items() if name not in hidden]
    return [
        Muon([named[name] for name in hidden], lr=MUON_LR),
        torch.optim.AdamW(rest, lr=ADAM_LR, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def pretrain(model: LlamaForCausalLM, vocabulary: dict[str, int], seed: int, steps: int, out: Console) -> None:
    rng = random.Random(seed)
    factor(model, vocabulary)

    def draw() -> tuple[torch.Tensor, str]:
        ids, labels = draw_batch(vocabulary, rng)
        # Padding stands on the right, where a causal model never looks back at it: no mask is needed.
        with parametrize.cached():
            loss = model(input_ids=ids, labels=labels).loss
        return loss, f"loss {loss.item():.3f}"

    train(model, optimizers(model), draw, steps, out)
    unfactor(model)


def solves(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, family: Family, part: Part, count: int
) -> float:
    """Share of fresh puzzles of a family that the model solves in context."""
    rng = random.Random(f"check {family} {part}")
    puzzles = [world.draw_pairs(family, part, rng)[1] for _ in range(count)]
    prompts = [world.write_question(pairs[:-1], pairs[-1][0]) for pairs in puzzles]
    answers = write(model, tokenizer, prompts, world.CELLS, sample=False)
    return sum(world.read_output(a) == pairs[-1][1] for a, pairs in zip(answers, puzzles, strict=True)) / count


def decides(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int) -> tuple[float, float]:
    """Share of sampled decisions that are valid; share of the rarest value of any choice, over the uniform share."""
    rng = random.Random("check decisions")
    puzzles = [world.draw_pairs(rng.choice(world.FAMILIES["test"]), "test", rng)[1] for _ in range(count)]
    prompts = [world.write_decision(pairs[: world.DEMOS]) for pairs in puzzles]
    valid = []
    for text in write(model, tokenizer, prompts, len(decision.CHOICES) + 1, sample=True):
        try:
            decision.parse(text)
        except DataError:
            continue
        valid.append(text.split())
    written = [word for line in valid for word in line]
    rarest = min(
        written.count(f"{name}={value}") * len(values) / max(1, len(valid))
        for name, values in decision.CHOICES.items()
        for value in values
    )
    return len(valid) / count, rarest


def check(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int = 300, seed: int = 0
) -> dict[str, float]:
    """What the base can do and cannot: families it knows, the families of rounds and tests, and writing decisions."""
    model.eval()
    torch.manual_seed(seed)
    figures = dict(
        zip(("valid decisions", "rarest choice of a decision"), decides(model, tokenizer, count), strict=True)
    )
    for part, families in world.FAMILIES.items():
        own = {f"solves {part} {family}": solves(model, tokenizer, family, part, count) for family in families}
        figures |= own
        figures[f"solves {part}, all families"] = sum(own.values()) / len(own)
    return figures


def main(out: Path, *, seed: int = 0, steps: int = STEPS, threads: int = 1) -> None:
    """Pretrain a base model into the folder OUT, check it, and fail if it misses the gate."""

    def make(console: Console) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
        tokenizer = make_tokenizer()
        model = make_model(tokenizer)
        pretrain(model, tokenizer.get_vocab(), seed, steps, console)
        return model, tokenizer

    make_base(out, make, check, GATE, seed, steps, threads)


if __name__ == "__main__":
    cyclopts.run(main)
