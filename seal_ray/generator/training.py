"""How a generator learns to write: what it wrote of a passage is held to the passage, and to what follows in it.

Three times in four a passage is read whole, and the base with the adapter on it is to give it back; and to answer,
where the lesson has answers. Else it is read up to a place drawn at random, and the rest is to be told without what was
read. The base is frozen: gradients go through it to the adapter, and through that to the network.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from seal_ray.adapters.lora import Adapter
from seal_ray.bank.job import TokenText
from seal_ray.bank.linear import PatchedModel
from seal_ray.bank.lora import BufferLayout, matching, to_adapter
from seal_ray.bank.optim import StepScalars, adamw_step, batch_order
from seal_ray.generator.network import Memories, Network
from seal_ray.generator.reading import Rows, laid_on, read
from seal_ray.generator.spec import GeneratorSpec, Text, Trained
from seal_ray.types import DataError, Example, LoraSpec, UserError, derive_seed

COMPLETED, ASKED = 0.25, 4
"""How often a passage is to be completed, and how many of its answers are learnt each time."""
TARGETS = "trial.lora.targets"
Ids = tuple[int, ...]
T = TypeVar("T")
Tokenise = Callable[[Example], TokenText]


@dataclass(frozen=True)
class Exercise:
    """What is read of a passage, and what the base is to say with the adapter that was written of that."""

    read: tuple[Ids, ...]
    said: tuple[TokenText, ...]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.read)) + sum(len(text.ids) for text in self.said)


class Generator:
    """A generator on a base. Texts are read in pieces of at most `longest` tokens, `most` tokens in one pass."""

    def __init__(self, base: PatchedModel, tokenise: Tokenise, lora: LoraSpec, longest: int, most: int) -> None:
        try:
            self._modules = matching(base.modules, lora.targets)
        except DataError as error:
            raise UserError(f"{TARGETS}: {error}") from None
        self._base, self._tokenise, self._lora = base, tokenise, lora
        self._longest, self._most = longest, most
        width = base.model.get_input_embeddings().weight.shape[1]  # type: ignore[operator, union-attr]
        self.network = Network(self._modules, width, lora.rank)
        self.dtype = torch.float64 if base.dtype == torch.float64 else torch.float32

    def train(self, spec: GeneratorSpec, before: Trained, steps: int) -> Trained:
        """Take so many steps more; the same whether they are taken at once or in turn, here or elsewhere."""
        numbers = [torch.tensor(each, device=self._base.device) for each in before.numbers]
        if not numbers:
            first_G = self.network.initial(spec.seed, self.dtype).to(self._base.device)
            numbers = [first_G, torch.zeros_like(first_G), torch.zeros_like(first_G)]
        weight_G, mean_G, square_G = numbers
        batches, losses = batch_order(len(spec.lessons), spec.optim, spec.seed), list(before.losses)
        for step in range(len(losses), min(spec.steps, len(losses) + steps)):
            exercises = [self.exercise(spec, step, number) for number in batches[step]]
            loss, grad_G = self.loss_and_grad(weight_G, exercises)
            if not loss.isfinite():
                raise UserError(f"the generator's loss is not finite at step {step}; lower generated.lr")
            buffers = tuple(each[None] for each in (weight_G, grad_G, mean_G, square_G))
            adamw_step(buffers, [StepScalars.of(spec.optim, step, spec.steps)])
            losses.append(float(loss))
        return Trained(tuple(losses), tuple(each.cpu().numpy() for each in (weight_G, mean_G, square_G)))

    def write(self, trained: Trained, passages: Sequence[Text]) -> list[Adapter]:
        """An adapter for each passage, in one pass over its tokens."""
        weight_G = torch.tensor(trained.numbers[0], device=self._base.device)
        pieces = [(number, ids) for number, text in enumerate(passages) for ids in self._pieces(text)]
        rank = self._lora.rank
        memories = {each.name: weight_G.new_zeros(len(passages), rank, rank) for each in self._modules}
        with torch.no_grad():
            for part in _parts(pieces, self._most, lambda piece: len(piece[1])):
                for name, more_PRR in self._remembered(weight_G, part, len(passages)).items():
                    memories[name] += more_PRR
            factors = self.network.written(weight_G, memories)
        layout = BufferLayout(rank, self._modules)
        return [
            to_adapter(
                torch.cat([each.reshape(-1) for a_RI, b_POR in factors.values() for each in (a_RI, b_POR[number])]),
                layout,
                self._lora,
            )
            for number in range(len(passages))
        ]

    def exercise(self, spec: GeneratorSpec, step: int, number: int) -> Exercise:
        """What a lesson is at this step, which follows from the seed."""
        lesson, rng = spec.lessons[number], random.Random(derive_seed("exercise", spec.seed, step, number))
        pieces = self._pieces(lesson.text)
        tokens = sum(map(len, pieces))
        if tokens > 1 and rng.random() < COMPLETED:
            head, tail = _cut(pieces, rng.randrange(1, tokens))
            return Exercise(head, tuple(TokenText.of((), ids) for ids in tail))
        answers = rng.sample(lesson.answers, min(ASKED, len(lesson.answers)))
        return Exercise(pieces, (*(TokenText.of((), ids) for ids in pieces), *map(self._answer, answers)))

    def loss_and_grad(self, weight_G: Tensor, exercises: Sequence[Exercise]) -> tuple[Tensor, Tensor]:
        """The mean over all tokens that are to be said, and its gradient; computed with few exercises at a time."""
        weight_G = weight_G.detach().requires_grad_()
        total = sum(sum(text.learn[1:]) for exercise in exercises for text in exercise.said)
        loss, grad_G = weight_G.new_zeros(()), torch.zeros_like(weight_G)
        some = [exercise for exercise in exercises if exercise.read and exercise.said]
        for part in _parts(some, self._most, lambda exercise: exercise.tokens):
            own = self._loss(weight_G, part) / max(1, total)
            (own_G,) = torch.autograd.grad(own, weight_G)
            loss, grad_G = loss + own.detach(), grad_G.add_(own_G)
        return loss, grad_G

    def _loss(self, weight_G: Tensor, exercises: Sequence[Exercise]) -> Tensor:
        """The sum over all tokens that are to be said."""
        pieces = [(number, ids) for number, exercise in enumerate(exercises) for ids in exercise.read]
        factors = self.network.written(weight_G, self._remembered(weight_G, pieces, len(exercises)))
        said = [(number, text) for number, exercise in enumerate(exercises) for text in exercise.said]
        rows = Rows.of([(number, text.ids) for number, text in said], self._base.device)
        learnt_NT = torch.zeros_like(rows.real_NT)
        for row, (_, text) in enumerate(said):
            learnt_NT[row, : len(text.learn)] = torch.tensor(text.learn)
        with laid_on(self._base.model, factors, self._lora.scale, rows):
            logits_NTV = self._base.model(input_ids=rows.ids_NT, use_cache=False).logits
        wanted_NT = learnt_NT[:, 1:]
        logits_LV = logits_NTV[:, :-1][wanted_NT].to(self.dtype)
        return F.cross_entropy(logits_LV, rows.ids_NT[:, 1:][wanted_NT], reduction="sum")

    def _remembered(self, weight_G: Tensor, pieces: Sequence[tuple[int, Ids]], passages: int) -> Memories:
        rows = Rows.of(pieces, self._base.device)
        seen = read(self._base.model, [module.name for module in self._modules], rows)
        return self.network.remembered(weight_G, seen, passages)

    def _pieces(self, text: Text) -> tuple[Ids, ...]:
        """A passage's tokens; a text that is too long for the base is read in several pieces."""
        found = (self._tokenise(example).ids for example in text)
        return tuple(ids[at : at + self._longest] for ids in found for at in range(0, len(ids), self._longest))

    def _answer(self, example: Example) -> TokenText:
        text = self._tokenise(example)
        return replace(text, ids=text.ids[-self._longest :], learn=text.learn[-self._longest :])


def _cut(pieces: Sequence[Ids], at: int) -> tuple[tuple[Ids, ...], tuple[Ids, ...]]:
    """The pieces up to a token, and those from there on."""
    head, tail = list[Ids](), list[Ids]()
    for ids in pieces:
        before = min(max(at, 0), len(ids))
        head.append(ids[:before])
        tail.append(ids[before:])
        at -= len(ids)
    return tuple(filter(None, head)), tuple(filter(None, tail))


def _parts(things: Iterable[T], most: int, tokens: Callable[[T], int]) -> Iterator[list[T]]:
    """Runs of neighbours that have no more tokens than this between them, or one thing that has more alone."""
    part, held = list[T](), 0
    for thing in things:
        if part and held + tokens(thing) > most:
            yield part
            part, held = [], 0
        part.append(thing)
        held += tokens(thing)
    if part:
        yield part
