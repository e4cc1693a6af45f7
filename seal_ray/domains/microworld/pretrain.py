"""Make the micro-world's base model from nothing:

    python -m seal_ray.domains.microworld.pretrain --out DIR --seed 0

Every step adds two losses: single lines about the known people (what a model remembers), and documents passage →
self-edit about freshly drawn strangers (so that copying from the context is learnt, not the people). Adam with large
batches does not get there in reasonable time; Muon on the hidden matrices with small batches does. The result must
pass the check below: a loss says little about whether names and values are copied faithfully, and everything after
rests on that.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cyclopts
import torch
from rich.console import Console
from tokenizers import Regex, decoders, normalizers, pre_tokenizers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from seal_ray.domains.microworld import world
from seal_ray.domains.microworld.describe import describe_text, read_line
from seal_ray.domains.microworld.grammar import words
from seal_ray.domains.microworld.world import Fact
from seal_ray.domains.pretraining import Gate, for_transformers, make_base, small_llama, train, word_tokenizer, write

STEPS = 4000
LINES, DOCUMENTS = 32, 10
MUON_LR, ADAM_LR = 6e-3, 3e-3
LINE_KINDS = {
    "entry": 0.06,
    "states forward": 0.35,
    "states reversed": 0.20,
    "asks forward": 0.25,
    "asks reversed": 0.20,
}
GATE: Gate = {
    "copying": (0.90, 1.0),
    "closed book, strangers": (0.0, 0.10),
    "closed book, known people": (0.80, 1.0),
}

Text = tuple[str, str]
"""What is only read, and what is learnt."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, a mark or a newline; decoding puts the spaces back where the world writes them."""
    tokenizer = word_tokenizer([*words()])
    tokenizer.normalizer = normalizers.Replace(Regex(r"[ \t\r]+"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split(Regex(r"[\n.,:?]"), "isolated")]
    )
    marks = [decoders.Replace(f" {mark}", mark) for mark in (".", ",", ":", "?", "\n")]
    tokenizer.decoder = decoders.Sequence(
        [decoders.WordPiece(prefix="##", cleanup=False), decoders.Fuse(), *marks, decoders.Replace("\n ", "\n")]
    )
    return for_transformers(tokenizer, positions=320)


def draw_line(rng: random.Random) -> Text:
    """A sentence about somebody the base is to know."""
    facts = rng.choice(world.known_facts())
    kind = rng.choices(list(LINE_KINDS), list(LINE_KINDS.values()))[0]
    if kind == "entry":
        return "", world.entries(rng.sample(facts, 2))[0]
    form, direction = kind.split()
    write = world.statement if form == "states" else world.answered
    return "", write(rng.choice(facts), "forward" if direction == "forward" else "reversed", rng)


def draw_strangers(rng: random.Random) -> tuple[Fact, ...]:
    free = world.population()["free"]
    while True:
        people = rng.sample(free, 3)
        if len({p.first for p in people}) == 3 == len({p.last for p in people}):
            return world.draw_facts(people, rng)


def draw_document(rng: random.Random) -> Text:
    facts = draw_strangers(rng)
    style = rng.choices(list(world.STYLES), [share for share, _ in world.STYLES.values()])[0]
    return world.prompt_of(facts), world.self_edit(style, facts, rng) + "<eos>"


def collate(tokenizer: PreTrainedTokenizerFast, texts: Sequence[Text]) -> tuple[torch.Tensor, torch.Tensor]:
    """Input ids and labels, right-padded; what is only read carries no loss."""
    reads = tokenizer([read for read, _ in texts])["input_ids"]
    learns = tokenizer([learn for _, learn in texts], add_special_tokens=False)["input_ids"]
    width = max(len(read) + len(learn) for read, learn in zip(reads, learns, strict=True))
    ids = torch.full((len(texts), width), tokenizer.pad_token_id)
    labels = torch.full((len(texts), width), -100)
    for row, (read, learn) in enumerate(zip(reads, learns, strict=True)):
        ids[row, : len(read) + len(learn)] = torch.tensor(read + learn)
        labels[row, len(read) : len(read) + len(learn)] = torch.tensor(learn)
    return ids, labels


class Muon(torch.optim.Optimizer):
    """`torch.optim.Muon` with `match_rms_adamw`, but stacked and in float32: a CPU is slow in bfloat16.

    `seal_ray/domains/arcworld/pretrain.py` takes a matrix at a time, which rounds otherwise: the base shipped here was
    made by this one.
    """

    def __init__(self, params: Sequence[torch.nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for shape in {param.shape for param in group["params"]}:
                params = [param for param in group["params"] if param.shape == shape]
                momenta = [self.state[param].setdefault("momentum", torch.zeros_like(param)) for param in params]
                for param, momentum in zip(params, momenta, strict=True):
                    momentum.lerp_(param.grad, 1 - group["momentum"])
                grads_NIO = torch.stack([param.grad for param in params])
                updates_NIO = orthogonal(grads_NIO.lerp(torch.stack(momenta), group["momentum"]))
                for param, update in zip(params, updates_NIO, strict=True):
                    param.mul_(1 - group["lr"] * group["weight_decay"])
                    param.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(shape)))


def orthogonal(x_NIO: torch.Tensor) -> torch.Tensor:
    """The nearest matrices with all singular values near 1, by five Newton-Schulz steps."""
    if x_NIO.shape[1] > x_NIO.shape[2]:
        return orthogonal(x_NIO.mT).mT
    x_NIO = x_NIO / torch.linalg.matrix_norm(x_NIO, keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram_NII = x_NIO @ x_NIO.mT
        x_NIO = torch.baddbmm(
            x_NIO, torch.baddbmm(gram_NII, gram_NII, gram_NII, beta=-4.7750, alpha=2.0315), x_NIO, beta=3.4445
        )
    return x_NIO


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        Muon(hidden, lr=MUON_LR, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=ADAM_LR, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def pretrain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, steps: int, out: Console) -> None:
    rng = random.Random(seed)

    def draw() -> tuple[torch.Tensor, str]:
        losses = []
        for texts in ([draw_line(rng) for _ in range(LINES)], [draw_document(rng) for _ in range(DOCUMENTS)]):
            ids, labels = collate(tokenizer, texts)
            # Padding stands on the right, where a causal model never looks back at it: no mask is needed.
            losses.append(model(input_ids=ids, labels=labels).loss)
        return torch.stack(losses).sum(), f"lines {losses[0].item():.2f}  documents {losses[1].item():.3f}"

    train(model, optimizers(model), draw, steps, out)


def closed_book(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Sequence[Fact], rng: random.Random
) -> float:
    """Share of forward questions about these facts answered exactly, with nothing to read."""
    asked = [world.question(fact, "forward", rng) for fact in facts]
    answers = write(model, tokenizer, [prompt for prompt, _ in asked], 3, sample=False)
    return sum(a.split(".")[0] == right for a, (_, right) in zip(answers, asked, strict=True)) / len(asked)


def check(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, passages: int = 200, seed: int = 0
) -> dict[str, float]:
    """What the base can do and cannot, on people it never saw. The styles' shares are those of sampled self-edits.

    `copying` leaves out the wrong facts, which are taught to be wrong.
    """
    model.eval()
    torch.manual_seed(seed)
    rng = random.Random(f"check {seed}")
    groups = world.trios(world.population()["test"])[:passages]
    tasks = [world.draw_facts(people, rng) for people in groups * math.ceil(passages / len(groups))][:passages]
    edits = write(model, tokenizer, [world.prompt_of(facts) for facts in tasks], 200, sample=True)
    told = [(facts, read_line(line)) for facts, edit in zip(tasks, edits, strict=True) for line in edit.splitlines()]
    copied = [claim in facts for facts, line in told if line.kind != "wrong facts" for claim in line.claims]
    styles = Counter(describe_text(facts, edit)["style"] for facts, edit in zip(tasks, edits, strict=True))
    strangers = [fact for facts in tasks for fact in facts]
    known = [fact for facts in world.known_facts() for fact in facts]
    return {
        "copying": sum(copied) / max(1, len(copied)),
        "sentences of the world": sum(line.kind != "other" for _, line in told) / max(1, len(told)),
        "closed book, strangers": closed_book(model, tokenizer, strangers[: 4 * passages], rng),
        "closed book, known people": closed_book(
            model, tokenizer, rng.sample(known, min(len(known), 4 * passages)), rng
        ),
        **{f"writes {style}": styles[style] / passages for style in [*world.STYLES, "mixed", "other"]},
    }


def main(out: Path, *, seed: int = 0, steps: int = STEPS, threads: int = 2) -> None:
    """Pretrain a base model into the folder OUT, check it, and fail if it misses the gate."""

    def make(console: Console) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
        tokenizer = make_tokenizer()
        model = small_llama(tokenizer, width=256, layers=3, tied=True)
        pretrain(model, tokenizer, seed, steps, console)
        return model, tokenizer

    make_base(out, make, check, GATE, seed, steps, threads)


if __name__ == "__main__":
    cyclopts.run(main)
