"""ARC as a domain: the self-edit decides how to train on the demonstrations; the test inputs show whether it helped."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from seal_ray.domains.arc import edit as edits
from seal_ray.domains.arc.edit import Edit, Extra
from seal_ray.domains.arc.files import ArcTask, load_tasks, submission
from seal_ray.domains.arc.messages import SYSTEM, chat, reply
from seal_ray.domains.arc.training import augmentations, training_tasks
from seal_ray.domains.arc.views import attempts, describe, views
from seal_ray.domains.base import Baseline, Picture, Split
from seal_ray.sources import SourcePath
from seal_ray.types import (
    Bounds,
    DataError,
    Example,
    Grade,
    LoraSpec,
    Message,
    OptimSpec,
    Prompt,
    Recipe,
    Task,
    UserError,
    derive_seed,
)

EDIT_SYSTEM = """\
A small model is about to be trained on a few grid puzzles, so that it can solve one more of their kind. \
Look at them and decide how it should be trained. Reply with one JSON object and nothing else:
- "basic": true to add turned, flipped, mirrored and shifted copies of the puzzles
- "size": true to add copies with larger cells
- "chain": true to add copies that are turned and enlarged
- "repeat": true to add copies laid side by side
- "loss": "all" to learn whole puzzles, "output" to learn only the final grid
- "learning_rate": a number from {lr_low} to {lr_high}
- "epochs": a whole number from {epochs_low} to {epochs_high}
{extras}"""

EXTRA_WORDS: dict[Extra, str] = {
    "rank": f'- "rank": a whole number from {edits.RANK[0]} to {edits.RANK[1]}, the size of the adapter\n',
    "alpha": f'- "alpha": a number from {edits.ALPHA[0]} to {edits.ALPHA[1]}, the strength of the adapter\n',
    "layers": f'- "layers": one of {", ".join(edits.LAYERS)}, the layers that are trained\n',
}


LORA = LoraSpec(128, 16.0, ("q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"))
OPTIM = OptimSpec(batch_size=2, schedule="cosine", warmup_steps=11)
"""The paper's trial, but for what the self-edit decides."""


class Arc:
    """Tasks of a few demonstrations; the reward is the share of test inputs that one of two attempts solves."""

    name = "arc"
    stop: tuple[str, ...] = ("#",)
    sample_stop: tuple[str, ...] = ()

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """What a config may set under the domain; unknown keys are refused."""

        train: SourcePath
        """Tasks for the rounds: a challenges file, or a folder with one file a task."""
        test: SourcePath
        train_solutions: SourcePath = ""
        test_solutions: SourcePath = ""
        """May be left out for tasks that carry their outputs, and for tasks to be submitted unsolved."""
        message_template: SourcePath = ""
        """File with the system message of a puzzle, instead of our wording; `{description}` in it is left empty."""
        edit_template: SourcePath = ""
        """File with the system message that asks for a self-edit, instead of our wording."""
        decide: tuple[Extra, ...] = ()
        """Further choices given to the policy."""
        max_examples: Annotated[int, Bounds(ge=1)] = 250
        max_text: Annotated[int, Bounds(ge=1)] = 8192
        """Longest puzzle to train on, in characters (about one token each); longer ones are left out."""
        max_steps: Annotated[int, Bounds(ge=1)] = 375
        """A self-edit that would train for more steps has failed."""

    def __init__(
        self,
        options: Options,
        lora: LoraSpec = LORA,
        optim: OptimSpec = OPTIM,
    ) -> None:
        self.options = options
        self.lora = lora
        self.optim = optim
        self.schema: dict[str, Any] | None = edits.schema(options.decide)
        self.template = _template(options.message_template, SYSTEM)
        own = EDIT_SYSTEM.format(
            lr_low=edits.LEARNING_RATE[0],
            lr_high=edits.LEARNING_RATE[1],
            epochs_low=edits.EPOCHS[0],
            epochs_high=edits.EPOCHS[1],
            extras="".join(EXTRA_WORDS[name] for name in options.decide),
        )
        self.edit_system = _template(options.edit_template, own)

    def tasks(self, split: Split, count: int | None, seed: int) -> Sequence[ArcTask]:
        """The file's own tasks; a seed picks which when fewer are asked for than there are."""
        path, found = self._source(split), self._load(split)
        if split == "train":
            self._refuse_shared(found)
        if count is None or count == len(found):
            return found
        if count > len(found):
            raise UserError(f"{path}: {len(found)} tasks, {count} were asked for")
        chosen = random.Random(derive_seed("arc tasks", split, seed)).sample(range(len(found)), len(found))[:count]
        return [found[i] for i in sorted(chosen)]

    def _source(self, split: Split) -> str:
        return self.options.train if split == "train" else self.options.test

    def _load(self, split: Split) -> list[ArcTask]:
        if split == "train":
            return load_tasks(self.options.train, self.options.train_solutions, need_solutions=True)
        return load_tasks(self.options.test, self.options.test_solutions)

    def _refuse_shared(self, tasks: Sequence[ArcTask]) -> None:
        """Refuse a puzzle of the held-out source: equal demonstrations are the same puzzle, whatever its name."""
        held_out = {task.demos for task in self._load("test")}
        if shared := next((task.id for task in tasks if task.demos in held_out), ""):
            where = f"{self.options.train} and {self.options.test}"
            raise UserError(f"{where}: both hold the puzzle {shared!r}; remove it from one of them")

    def prompt(self, task: Task) -> Prompt:
        return (Message("system", self.edit_system), Message("user", _arc(task).context))

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        return self.recipe_of(_arc(task), edits.parse(completion, self.options.decide), seed)

    def recipe_of(self, task: ArcTask, edit: Edit, seed: int) -> Recipe:
        """What this edit trains on; the draws in it depend on the seed alone."""
        chosen = augmentations(edit.basic, edit.size, edit.chain, edit.repeat)
        demos = [(demo.input, demo.output) for demo in task.demos]
        tasks = training_tasks(demos, chosen, self.options.max_examples, self.options.max_text, seed)
        if not tasks:
            raise DataError(
                f"task {task.id}: nothing to train on: one demonstration, or none within max_text characters"
            )
        steps = edit.epochs * -(-len(tasks) // self.optim.batch_size)
        if steps > self.options.max_steps:
            raise DataError(f"self-edit: {steps} training steps, more than {self.options.max_steps}")
        examples = tuple(
            Example(reply(item.asked[1]), chat(item.demos, item.asked[0], self.template), edit.loss == "all")
            for item in tasks
        )
        optim = replace(self.optim, lr=edit.learning_rate, epochs=edit.epochs)
        return Recipe(examples, edit.adapt(self.lora), optim)

    def baseline(self, name: str, task: Task, seed: int) -> Baseline | None:
        """`in-context` (or `base`) trains nothing, `fixed` on a hand-set configuration, `random` on a drawn one."""
        if name in ("in-context", "base"):
            return Baseline(None, self.questions(task))
        if name == "fixed":
            return Baseline(self.recipe_of(_arc(task), edits.FIXED, seed), self.questions(task))
        if name == "random":
            edit = edits.draw(random.Random(derive_seed("arc random edit", task.id, seed)))
            return Baseline(self.recipe_of(_arc(task), edit, seed), self.questions(task))
        return None

    def candidates(self) -> Iterator[str]:
        """Every self-edit of the oracle's grid, as the policy would write it."""
        return (edit.text() for edit in edits.grid())

    def choices(self, completion: str) -> dict[str, str]:
        parsed = edits.parse(completion, self.options.decide)
        return {name: str(value) for name, value in asdict(parsed).items() if value is not None}

    def pictures(self, task: Task, answers: Sequence[str]) -> tuple[Picture, ...]:
        """Each test input with its target, where that is known, and both attempts."""
        own = _arc(task)
        found = describe(own, answers)
        shown: list[Picture] = []
        for i, given in enumerate(own.tests):
            target = own.solutions[i] if own.solutions else None
            shown.append(Picture("input", given))
            shown += [Picture("target", target)] if target else []
            for number in range(2):
                grid = found.attempts[i][number] if number < len(found.attempts[i]) else ()
                shown.append(Picture(f"attempt {number + 1}", grid, grid == target if target else None))
        return tuple(shown)

    def submission(self, tasks: Sequence[Task], answers: Mapping[str, Sequence[Sequence[str]]]) -> str:
        """Kaggle's form: two attempts a test input, by vote over all views of all of a task's trials."""
        return submission({task.id: attempts(_arc(task), answers.get(task.id, ())) for task in tasks})

    def questions(self, task: Task) -> tuple[Prompt, ...]:
        return tuple(view.prompt(_arc(task), self.template) for view in views(_arc(task)))

    def statements(self, task: Task) -> tuple[Example, ...]:
        return ()

    async def grade(self, task: Task, answers: Sequence[str]) -> Grade:
        """A verdict for each view's own prediction; the reward is for the votes."""
        found = await asyncio.to_thread(describe, _arc(task), answers)
        return Grade(found.verdicts, sum(found.solved) / len(found.solved))


def _arc(task: Task) -> ArcTask:
    if not isinstance(task, ArcTask):
        raise TypeError(f"{task.id} is no grid task")
    return task


def _template(path: str, own: str) -> str:
    if not path:
        return own
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: template cannot be read: {error}") from None
