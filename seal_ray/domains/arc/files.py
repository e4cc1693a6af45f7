"""ARC tasks on disk: a challenges file with its solutions file, or a folder of task files; and the submission file.

ARC-AGI-1 and ARC-AGI-2 use the same forms. Anything wrong is one line that names the task and what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal_ray.domains.arc.grids import Grid, as_grid, to_array
from seal_ray.domains.arc.messages import chat, demonstration, reply
from seal_ray.plain import decoded, kept
from seal_ray.types import DataError, Question, Task, UserError


@dataclass(frozen=True)
class Demo:
    input: Grid
    output: Grid


@dataclass(frozen=True)
class ArcTask(Task):
    """A grid task: demonstrations, one or more test inputs, and their solutions where they are known."""

    demos: tuple[Demo, ...] = ()
    tests: tuple[Grid, ...] = ()
    solutions: tuple[Grid, ...] = ()
    """One per test input, or none at all."""


def load_tasks(path: str | Path, solutions: str | Path = "", need_solutions: bool = False) -> list[ArcTask]:
    """Tasks of a challenges file or a folder of task files, in the order of the file or of the names."""
    path = Path(path)
    if path.is_dir():
        found = {file.stem: _json(file) for file in sorted(path.glob("*.json"))}
        if not found:
            raise UserError(f"{path}: no .json file in this folder")
    else:
        found = _mapping(path)
    found = {kept(name): body for name, body in found.items()}
    answers = _mapping(Path(solutions)) if solutions else {}
    if answers and not answers.keys() & found.keys():
        raise UserError(f"{solutions}: solutions for other tasks ({next(iter(answers))}, …) than those in {path}")
    try:
        return [_task(name, body, answers.get(name), bool(solutions) or need_solutions) for name, body in found.items()]
    except DataError as error:
        raise UserError(f"{path}: {error}") from None


def _task(name: str, body: Any, answers: Any, need_solutions: bool) -> ArcTask:
    where = f"task {name}"
    if not isinstance(body, dict) or not all(isinstance(body.get(k), list) and body[k] for k in ("train", "test")):
        raise DataError(f'{where}: needs a "train" and a "test" list, neither of them empty')
    demos = [
        Demo(_side(pair, "input", f"{where}: train {i}"), _side(pair, "output", f"{where}: train {i}"))
        for i, pair in enumerate(body["train"], 1)
    ]
    tests = [_side(pair, "input", f"{where}: test {i}") for i, pair in enumerate(body["test"], 1)]
    if answers is None:
        answers = [pair.get("output") for pair in body["test"]]  # pairs are objects, or they had no input
    if not isinstance(answers, list) or len(answers) != len(tests):
        raise DataError(f"{where}: needs one solution for each of {len(tests)} test inputs")
    missing = [i for i, answer in enumerate(answers, 1) if answer is None]
    if missing and (need_solutions or len(missing) < len(tests)):
        raise DataError(f"{where}: test {missing[0]} has no output")
    known = () if missing else tuple(as_grid(rows, f"{where}: test {i}, output") for i, rows in enumerate(answers, 1))
    return make_task(name, demos, tests, known)


def _side(pair: Any, side: str, where: str) -> Grid:
    if not isinstance(pair, dict) or side not in pair:
        raise DataError(f"{where} has no {side}")
    return as_grid(pair[side], f"{where}, {side}")


def make_task(name: str, demos: Sequence[Demo], tests: Sequence[Grid], solutions: Sequence[Grid]) -> ArcTask:
    """Grids as a task, with the prompt and answer of each test input as its questions."""
    shown = [(to_array(demo.input), to_array(demo.output)) for demo in demos]
    known = [reply(to_array(grid)) for grid in solutions] or [""] * len(tests)
    prompts = [chat(shown, to_array(grid)) for grid in tests]
    return ArcTask(
        id=name,
        title=name,
        context="".join(demonstration(*pair) for pair in shown),
        questions=tuple(Question(prompt, answer) for prompt, answer in zip(prompts, known, strict=True)),
        demos=tuple(demos),
        tests=tuple(tests),
        solutions=tuple(solutions),
    )


def submission(attempts: Mapping[str, Sequence[Sequence[Grid]]]) -> str:
    """Two attempts for every test input of every task, in the form Kaggle takes.

    `attempts[task id]` has one list of at most two grids per test input; a missing first attempt becomes a single 0,
    a missing second one repeats the first.
    """
    rows = {}
    for name, tests in attempts.items():
        both = [(*own, *own, ((0,),), ((0,),)) if len(own) < 2 else own for own in tests]
        rows[name] = [{"attempt_1": own[0], "attempt_2": own[1]} for own in both]
    return json.dumps(rows) + "\n"


def _mapping(path: Path) -> dict[str, Any]:
    found = _json(path)
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path}: expected a JSON object with one entry a task")
    if {"train", "test"} <= found.keys():
        return {path.stem: found}
    return found


def _json(path: Path) -> Any:
    try:
        return decoded(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON: {error}") from None
