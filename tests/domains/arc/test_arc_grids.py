"""Grids, augmentations and their inverses, training sets and messages."""

import hashlib
import json
import time

import numpy as np
import pytest

from seal_ray.domains.arc import augment, messages
from seal_ray.domains.arc.augment import Chain, Concat, Enlarge, Identity, Recolour, Rotate, Translate
from seal_ray.domains.arc.files import load_tasks
from seal_ray.domains.arc.grids import Grid, cell_accuracy, read_grid, to_array, to_grid, write_grid
from seal_ray.domains.arc.training import TrainingTask, augmentations, leave_out, training_tasks
from seal_ray.types import DataError
from tests.shared import SHARED, needs_shared

NAMED = (*augment.BASIC, *augment.SIZE, *augment.CHAIN, *augment.REPEAT)
BESIDE = tuple(Concat((Identity(), Rotate(180)), axis) for axis in (0, 1))
PLAIN = [item for item in (*NAMED, *BESIDE) if not isinstance(item, type)]


def golden(name: str) -> list[dict]:
    return [json.loads(line) for line in (SHARED / f"golden/{name}.jsonl").open(encoding="utf-8")]


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def as_json(task: TrainingTask) -> str:
    pairs = [{"input": given.tolist(), "output": wanted.tolist()} for given, wanted in (*task.demos, task.asked)]
    return compact({"train": pairs[:-1], "test": pairs[-1:]})


def random_grid(rng: np.random.Generator, most: int = 12) -> Grid:
    height, width = rng.integers(1, most + 1, 2)
    return to_grid(rng.integers(0, 10, (height, width)).astype(np.uint8))


@needs_shared
def test_every_recorded_augmentation_gives_the_recorded_task() -> None:
    data = SHARED / "data/arc"
    tasks = {
        t.id: t for t in load_tasks(data / "arc-agi_training_challenges.json", data / "arc-agi_training_solutions.json")
    }
    named = {str(item): item for item in PLAIN}
    cases = golden("arc_augmentations")
    assert len(cases) == 1440
    for case in cases:
        name, test = case["task"].split("-")
        task, change = tasks[name], named[case["augmenter"]]
        pairs = [(demo.input, demo.output) for demo in task.demos]
        pairs.append((task.tests[int(test)], task.solutions[int(test)]))
        made = [
            {"input": change.apply(to_array(a)).tolist(), "output": change.apply(to_array(b)).tolist()}
            for a, b in pairs
        ]
        assert digest(compact({"train": made[:-1], "test": made[-1:]})) == case["sha256"], case["augmenter"]


@pytest.mark.slow
@needs_shared
def test_every_recorded_choice_of_switches_gives_the_recorded_training_set() -> None:
    file = SHARED / "data/arc/arc-agi_training_challenges_filtered_1B_training_set.json"
    tasks = {task.id: task for task in load_tasks(file)}
    cases = golden("arc_ttt_examples")
    assert len(cases) == 416
    for case in cases:
        task = tasks[case["task"].split("-")[0]]
        demos = [(demo.input, demo.output) for demo in task.demos]
        chosen = augmentations(case["basic"], case["size"], case["chain"], case["repeat"])
        names = ["RandomTranslateXY()" if isinstance(item, type) else str(item) for item in chosen]
        assert names == case["augmenters"]
        made = leave_out(demos, case["leave_n"], chosen)
        assert len(made) == case["n_with_deterministic_augmenters"]
        assert digest(compact(sorted(map(as_json, made)))) == case["sha256_of_sorted_tasks"]


@needs_shared
def test_every_recorded_task_gives_the_recorded_messages() -> None:
    data = SHARED / "data/arc"
    suffix = "filtered_1B_training_set.json"
    found = load_tasks(data / f"arc-agi_training_challenges_{suffix}", data / f"arc-agi_training_solutions_{suffix}")
    tasks = {task.id: task for task in found}
    for case in golden("arc_messages"):
        name, test = case["task"].split("-")
        task = tasks[name]
        demos = [(to_array(demo.input), to_array(demo.output)) for demo in task.demos]
        chat = messages.chat(demos, to_array(task.tests[int(test)]), case["system_template"])
        assert [{"role": m.role, "content": m.content} for m in chat] == case["messages"]
        assert messages.reply(to_array(task.solutions[int(test)])) == case["answer"]["content"]


def test_every_augmentation_is_undone_by_its_inverse() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        grid = random_grid(rng)
        drawn = [Translate.draw(rng), Recolour.draw(rng), Chain((Recolour.draw(rng), Rotate(90), Enlarge(3, 2)))]
        for change in (*PLAIN, *drawn):
            assert to_grid(change.invert(change.apply(to_array(grid)))) == grid, str(change)


def test_an_inverse_refuses_a_shape_it_cannot_have_come_from() -> None:
    odd = to_array(((1, 2, 3),) * 3)
    for change in (Enlarge(2, 2), augment.Reflect(0), augment.Repeat(2, 2)):
        with pytest.raises(DataError, match=r"\(3, 3\)"):
            change.invert(odd)


def test_a_grid_reads_back_as_it_was_written() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        grid = random_grid(rng, 30)
        assert read_grid(write_grid(grid)) == grid
        assert read_grid(json.dumps(grid)) == grid
        assert read_grid(f"Here it is:\n{write_grid(grid)}# and so on [[1 2") == grid


@pytest.mark.parametrize(
    "answer",
    ["", "no grid", "[[1 2]\n [3", "[[1 2]\n [3]]", "[[1 12]]", "[[]]", "[1 2 3]", "[[1 a]]", "[[1 2] x [3 4]]",
     "[" + "[1]" * 31 + "]"],
)  # fmt: skip
def test_a_malformed_answer_is_no_grid(answer: str) -> None:
    assert read_grid(answer) is None


def test_cells_count_only_where_the_shape_is_right() -> None:
    target = ((1, 2), (3, 4))
    assert cell_accuracy(target, target) == 1.0
    assert cell_accuracy(((1, 2), (3, 0)), target) == 0.75
    assert cell_accuracy(((1, 2),), target) == 0.0
    assert cell_accuracy(None, target) == 0.0


def pairs_of(count: int, side: int) -> list[tuple[Grid, Grid]]:
    rng = np.random.default_rng(2)
    return [tuple(to_grid(rng.integers(0, 10, (side, side))) for _ in range(2)) for _ in range(count)]  # type: ignore[misc]


def test_training_tasks_depend_on_the_seed_alone() -> None:
    demos, chosen = pairs_of(4, 3), augmentations(True, True, True, True)
    first, again, other = (list(map(as_json, training_tasks(demos, chosen, 250, 10**6, s))) for s in (7, 7, 8))
    assert first == again
    assert first != other


def test_tasks_that_hold_one_demonstration_back_come_first_and_the_limit_holds() -> None:
    demos = pairs_of(4, 3)
    assert [len(task.demos) for task in training_tasks(demos, (), 250, 10**6, 0)] == [3] * 8 + [2] * 24
    assert [len(task.demos) for task in training_tasks(demos, (), 10, 10**6, 0)] == [3] * 8 + [2] * 2
    assert len(training_tasks(demos, augmentations(True, True, True, True), 50, 10**6, 0)) == 50


def test_one_demonstration_gives_no_training_task() -> None:
    assert training_tasks(pairs_of(1, 3), augmentations(True, True, True, True), 250, 10**6, 0) == []


def test_no_training_task_has_a_side_over_thirty_or_too_long_a_text() -> None:
    for task in training_tasks(pairs_of(3, 16), augmentations(True, True, True, True), 250, 10**6, 0):
        assert max(max(array.shape) for pair in (*task.demos, task.asked) for array in pair) <= 30
    assert training_tasks(pairs_of(3, 16), (), 250, 500, 0) == []


def test_the_worst_case_is_built_in_under_two_seconds_of_the_processor() -> None:
    demos, chosen = pairs_of(10, 30), augmentations(True, True, True, True)
    start = time.process_time()
    tasks = training_tasks(demos, chosen, 250, 10**6, 0)
    texts = [messages.chat(task.demos, task.asked[0]) for task in tasks]
    assert len(texts) == 250
    assert time.process_time() - start < 2
