"""The grid world as a domain: the policy sees a puzzle's demonstrations and decides how to train on them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seal_ray.domains.arcworld import decision, world
from seal_ray.domains.arcworld.decision import Decision
from seal_ray.domains.arcworld.world import Pair, WorldTask
from seal_ray.domains.base import Baseline, Picture, Split
from seal_ray.types import Example, Grade, LoraSpec, OptimSpec, Prompt, Question, Recipe, Task, derive_seed

BASE = Path(__file__).parent / "base"
"""The base model that ships with the package, as an ordinary Hugging Face folder."""

ALL_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LORA = LoraSpec(rank=8, alpha=16.0, targets=ALL_PROJECTIONS)
OPTIM = OptimSpec(batch_size=world.DEMOS, schedule="linear", betas=(0.9, 0.99))
FIXED = "turns=off recolour=on copies=8 loss=outputs lr=1e-2 epochs=2"
"""The hand-set decision of the baseline."""


class ArcWorld:
    """Puzzles of four demonstrations and one grid to solve; the reward is 1 when all nine cells are right."""

    name = "arcworld"
    schema: dict[str, Any] | None = None
    stop: tuple[str, ...] = ()
    fixed_answers = True
    """A grid has so many tokens and no end; an answer that is as long as it may be is whole."""
    sample_stop: tuple[str, ...] = ()

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """The grid world has nothing to set; unknown keys are refused."""

    def __init__(self, options: Options | None = None, lora: LoraSpec = LORA, optim: OptimSpec = OPTIM) -> None:
        self.options = options or self.Options()
        self.lora = lora
        self.optim = optim

    def tasks(self, split: Split, count: int | None, seed: int) -> Sequence[WorldTask]:
        """The families take turns; a longer list starts with the shorter one. None is as many as a run needs, 120."""
        return [self._task(split, index, seed) for index in range(120 if count is None else count)]

    def _task(self, split: Split, index: int, seed: int) -> WorldTask:
        rng = random.Random(derive_seed("arcworld task", split, index, seed))
        families = world.FAMILIES[split]
        family = families[index % len(families)]
        rule, pairs = world.draw_pairs(family, split, rng)
        *demos, (test, target) = pairs
        name = f"{split}-{seed}-{index:03d}"
        question = Question(world.write_question(demos, test), world.write_output(target))
        return WorldTask(
            id=name,
            title=name,
            context=world.write_demos(demos).strip(),
            questions=(question,),
            family=family,
            demos=tuple(demos),
            test=test,
            target=target,
            rule=rule,
        )

    def prompt(self, task: Task) -> Prompt:
        return world.write_decision(_own(task).demos)

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        """Each demonstration held back in turn, as often as decided; each copy has its own random turn and colours."""
        chosen = decision.parse(completion)
        rng = random.Random(derive_seed("arcworld recipe", seed))
        puzzles = [
            _augmented(_hold_back(_own(task).demos, index, rng), chosen, rng)
            for _ in range(chosen.copies)
            for index in range(world.DEMOS)
        ]
        examples = tuple(
            Example(world.write_output(asked[1]), world.write_question(shown, asked[0]), chosen.loss_on_all)
            for *shown, asked in puzzles
        )
        return Recipe(examples, self.lora, replace(self.optim, lr=chosen.lr, epochs=chosen.epochs))

    def baseline(self, name: str, task: Task, seed: int) -> Baseline | None:
        """`in-context` (or `base`) trains nothing, `fixed` on a hand-set decision, `random` on a drawn one."""
        if name in ("in-context", "base"):
            return Baseline(None, self.questions(task))
        if name == "fixed":
            return Baseline(self.recipe(task, FIXED, seed), self.questions(task))
        if name == "random":
            drawn = decision.draw(random.Random(derive_seed("arcworld random decision", task.id, seed)))
            return Baseline(self.recipe(task, drawn, seed), self.questions(task))
        return None

    def candidates(self) -> Iterator[str]:
        """The decisions of the oracle's grid, as the policy would write them."""
        return decision.grid()

    def choices(self, completion: str) -> dict[str, str]:
        decision.parse(completion)
        return dict(word.split("=") for word in completion.split())  # type: ignore[misc]

    def pictures(self, task: Task, answers: Sequence[str]) -> tuple[Picture, ...]:
        own = _own(task)
        found = world.read_output(answers[0]) if answers else None
        return (
            Picture("input", world.rows(own.test)),
            Picture("target", world.rows(own.target)),
            Picture("answer", world.rows(found or ()), found == own.target),
        )

    def questions(self, task: Task) -> tuple[Prompt, ...]:
        return tuple(question.prompt for question in task.questions)

    def statements(self, task: Task) -> tuple[Example, ...]:
        return ()

    async def grade(self, task: Task, answers: Sequence[str]) -> Grade:
        (answer,) = answers
        solved = float(world.read_output(answer) == _own(task).target)
        return Grade((solved,), solved)


def _hold_back(demos: Sequence[Pair], index: int, rng: random.Random) -> list[Pair]:
    """The others in random order, then the one to be solved."""
    others = [pair for i, pair in enumerate(demos) if i != index]
    return [*rng.sample(others, len(others)), demos[index]]


def _augmented(pairs: list[Pair], chosen: Decision, rng: random.Random) -> list[Pair]:
    if chosen.turns:
        source = rng.choice([tuple(range(world.CELLS)), *world.TURNS])
        pairs = [world.turn(pair, source) for pair in pairs]
    if chosen.recolour:
        colours = tuple(rng.sample(range(world.COLOURS), world.COLOURS))
        pairs = [world.recolour(pair, colours) for pair in pairs]
    return pairs


def _own(task: Task) -> WorldTask:
    if not isinstance(task, WorldTask):
        raise TypeError(f"{task.id} is no puzzle of the grid world")
    return task
