"""ARC as a domain: files in, recipes and questions out, answers judged, submissions written."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from seal_ray.domains.arc import Arc, ArcTask, describe, load_tasks, submission
from seal_ray.domains.arc import edit as edits
from seal_ray.domains.arc.augment import Flip, Identity, Rotate, Transpose
from seal_ray.domains.arc.grids import to_array, write_array
from seal_ray.domains.arc.views import View, views, vote
from seal_ray.types import DataError, UserError
from tests.shared import SHARED, needs_shared

PAIR = {"input": [[1, 2], [3, 4]], "output": [[4, 3], [2, 1]]}
BODY = {"train": [PAIR, {"input": [[5, 6]], "output": [[6, 5]]}], "test": [{"input": [[7, 8, 9]]}]}
SOLUTION = [[[9, 8, 7]]]
EDIT = edits.FIXED.text()


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def task(tmp_path: Path) -> ArcTask:
    return load_tasks(write(tmp_path / "c.json", {"t": BODY}), write(tmp_path / "s.json", {"t": SOLUTION}))[0]


@pytest.fixture
def arc(tmp_path: Path) -> Arc:
    return Arc(Arc.Options(train="-", test=str(write(tmp_path / "c.json", {"t": BODY}))))


def with_edit(**changes: Any) -> str:
    return json.dumps({**json.loads(EDIT), **changes})


def perfect(task: ArcTask) -> list[str]:
    return [write_array(v.change.apply(to_array(task.solutions[v.test]))) + "#" for v in views(task)]


@needs_shared
def test_every_recorded_vote_gives_the_recorded_attempts() -> None:
    cases = [json.loads(line) for line in (SHARED / "golden/arc_voting.jsonl").open(encoding="utf-8")]
    assert len(cases) == 200
    for case in cases:
        predictions = [tuple(map(tuple, prediction["output"])) for prediction in case["predictions"]]
        assert [list(map(list, grid)) for grid in vote(predictions)] == [case["attempt_1"], case["attempt_2"]]


def test_a_vote_passes_over_malformed_predictions_and_may_have_one_attempt() -> None:
    assert vote([None, ((1,),), None]) == (((1,),),)
    assert vote([None]) == ()


def test_views_leave_each_demonstration_out_and_transform_the_whole(task: ArcTask) -> None:
    everything = (0, 1)
    assert views(task) == (
        View(0, everything),
        View(0, (1,)),
        View(0, (0,)),
        *(View(0, everything, change) for change in (Transpose(), Flip(0), Flip(1), Rotate(90), Rotate(180))),
    )


def test_a_view_shows_everything_transformed_and_maps_the_answer_back(task: ArcTask) -> None:
    chat = View(0, (0,), Flip(1)).prompt(task, "{description}")
    assert chat[0].content == "[[2 1]\n [4 3]] -> [[3 4]\n [1 2]]#\n"
    assert chat[1].content == "[[9 8 7]] -> "
    assert View(0, (0,), Rotate(90)).read("[[1]\n [2]]#") == ((2, 1),)
    assert View(0, (0,), Identity()).read("?") is None


def test_perfect_answers_solve_the_task_whatever_the_view(arc: Arc, task: ArcTask) -> None:
    grade = asyncio.run(arc.grade(task, perfect(task)))
    assert grade.reward == 1.0
    assert grade.verdicts == (1.0,) * 8


def test_the_second_attempt_counts_and_the_third_does_not(arc: Arc, task: ArcTask) -> None:
    wrong = [write_array(v.change.apply(to_array(((1, 1, 1),)))) for v in views(task)]
    other = [write_array(v.change.apply(to_array(((2, 2, 2),)))) for v in views(task)]
    right = perfect(task)
    assert asyncio.run(arc.grade(task, [*wrong[:5], *right[5:]])).reward == 1.0
    assert asyncio.run(arc.grade(task, [*wrong[:4], *other[4:7], *right[7:]])).reward == 0.0


def test_the_description_counts_cells_and_malformed_answers(task: ArcTask) -> None:
    near = [write_array(v.change.apply(to_array(((9, 8, 0),)))) for v in views(task)]
    found = describe(task, ["nothing", *near[1:]])
    assert found.solved == (False,)
    assert found.malformed == 1
    assert found.cells == (pytest.approx(2 / 3),)
    assert found.attempts == ((((9, 8, 0),),),)


def test_a_task_with_two_test_inputs_is_rewarded_for_each(arc: Arc, tmp_path: Path) -> None:
    body = {**BODY, "test": [{"input": [[7, 8, 9]]}, {"input": [[1]]}]}
    file = write(tmp_path / "two.json", {"t": body})
    two = load_tasks(file, write(tmp_path / "two-s.json", {"t": [[[9, 8, 7]], [[1]]]}))[0]
    assert len(arc.questions(two)) == 16
    answers = [answer if v.test == 1 else "" for v, answer in zip(views(two), perfect(two), strict=True)]
    assert asyncio.run(arc.grade(two, answers)).reward == 0.5


def test_a_task_without_solutions_is_asked_and_submitted_but_never_solved(arc: Arc) -> None:
    (unsolved,) = arc.tasks("test", None, 0)
    assert unsolved.solutions == ()
    answers = ["[[9 8 7]]"] * len(arc.questions(unsolved))
    assert asyncio.run(arc.grade(unsolved, answers)).reward == 0.0
    rows = json.loads(arc.submission([unsolved], {"t": [answers, ["[[1]]"] * len(answers)]}))
    assert rows["t"] == [{"attempt_1": [[1]], "attempt_2": [[9, 8, 7]]}]
    assert json.loads(arc.submission([unsolved], {}))["t"] == [{"attempt_1": [[0]], "attempt_2": [[0]]}]
    assert [grid.label for grid in arc.pictures(unsolved, answers)] == ["input", "attempt 1", "attempt 2"]
    assert json.loads(submission({"none": [()]}))["none"] == [{"attempt_1": [[0]], "attempt_2": [[0]]}]


def test_a_recipe_is_what_the_edit_decides(arc: Arc, task: ArcTask) -> None:
    recipe = arc.recipe(task, f"Sure:\n```json\n{with_edit(epochs=3, learning_rate=5e-5, loss='all')}\n```", 1)
    assert (recipe.optim.lr, recipe.optim.epochs, recipe.optim.batch_size) == (5e-5, 3, 2)
    assert all(example.learn_prompt for example in recipe.examples)
    assert recipe.lora.rank == 128
    assert not any(e.learn_prompt for e in arc.recipe(task, with_edit(loss="output"), 1).examples)
    assert len(arc.recipe(task, with_edit(basic=False), 1).examples) == 4


def test_a_recipe_depends_on_the_seed_alone(arc: Arc, task: ArcTask) -> None:
    assert arc.recipe(task, EDIT, 5) == arc.recipe(task, EDIT, 5)
    assert arc.recipe(task, EDIT, 5) != arc.recipe(task, EDIT, 6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("{oops", "not valid JSON"),
        (with_edit(epochs=0), "'epochs' is 0, out of range 1 to 10"),
        (with_edit(epochs=2.5), "'epochs' is 2.5, not a integer"),
        (with_edit(epochs=True), "'epochs' is True"),
        (with_edit(learning_rate=1.0), "'learning_rate' is 1.0, out of range"),
        (with_edit(learning_rate=float("nan")), "'learning_rate' is nan"),
        (with_edit(basic="yes"), "'basic' is 'yes', not a boolean"),
        (with_edit(loss="some"), "'loss' is 'some', not one of all, output"),
        (with_edit(rank=8), "unknown key 'rank'"),
        (json.dumps({"basic": True}), "'size' is missing"),
        (with_edit(size=True, epochs=10), "training steps, more than"),
    ],
)
def test_a_bad_self_edit_is_refused_with_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    file = str(write(tmp_path / "c.json", {"t": {**BODY, "test": [{**BODY["test"][0], "output": SOLUTION[0]}]}}))
    arc = Arc(Arc.Options(train="-", test=file, max_steps=100))
    with pytest.raises(DataError, match="self-edit: ") as error:
        arc.recipe(arc.tasks("test", None, 0)[0], text, 0)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_richer_decisions_are_there_when_switched_on(tmp_path: Path, task: ArcTask) -> None:
    arc = Arc(Arc.Options(train="-", test="-", decide=("rank", "alpha", "layers")))
    recipe = arc.recipe(task, with_edit(rank=8, alpha=32, layers="mlp"), 0)
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.targets) == (8, 32, ("gate_proj", "up_proj", "down_proj"))
    assert '"rank"' in arc.prompt(task)[0].content  # type: ignore[union-attr]
    with pytest.raises(DataError, match="'rank' is missing"):
        arc.recipe(task, EDIT, 0)


def test_the_oracle_and_the_baselines_write_valid_edits(arc: Arc, task: ArcTask) -> None:
    candidates = list(arc.candidates())
    assert len(set(candidates)) == 384
    assert all(edits.parse(text).text() == text for text in candidates)
    for name in ("fixed", "random"):
        baseline = arc.baseline(name, task, 3)
        assert baseline is not None
        assert baseline.recipe is not None
        assert baseline == arc.baseline(name, task, 3)
    in_context = arc.baseline("in-context", task, 3)
    assert in_context is not None
    assert in_context.recipe is None
    assert arc.baseline("other", task, 3) is None


def test_a_folder_with_one_file_a_task_reads_like_a_challenges_file(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    write(folder / "b.json", {**BODY, "test": [{"input": [[7, 8, 9]], "output": [[9, 8, 7]]}]})
    (folder / "a.json").write_text(json.dumps(BODY), encoding="utf-8-sig")  # as Windows saves it
    first, second = load_tasks(folder)
    assert (first.id, first.solutions) == ("a", ())
    assert (second.id, second.solutions) == ("b", (((9, 8, 7),),))


def test_grids_of_one_cell_are_fine(tmp_path: Path, arc: Arc) -> None:
    dot = {"input": [[0]], "output": [[5]]}
    (task,) = load_tasks(write(tmp_path / "dot.json", {"dot": {"train": [dot] * 2, "test": [dot]}}))
    assert arc.recipe(task, with_edit(size=True, chain=True, repeat=True), 0).examples
    assert asyncio.run(arc.grade(task, perfect(task))).reward == 1.0


def broken(**changes: Any) -> dict[str, Any]:
    return {"t1": {**BODY, **changes}}


@pytest.mark.parametrize(
    ("challenges", "solutions", "words"),
    [
        (broken(test=[{"input": [[1]]}]), {"t1": []}, "one solution for each"),
        (broken(test=[{"input": [[1]]}, {"input": [[1]], "output": [[1]]}]), None, "test 1 has no output"),
        (broken(train=[{"input": [[1, 2], [3]], "output": [[1]]}]), None, "train 1, input: ragged rows"),
        (broken(train=[PAIR, {"input": [[1]], "output": [[10]]}]), None, "train 2, output: 10 is no colour"),
        (broken(train=[{"input": [[1.0]], "output": [[1]]}]), None, "1.0 is no colour"),
        (broken(train=[{"input": [], "output": [[1]]}]), None, "train 1, input: a grid needs at least one row"),
        (broken(train=[{"input": [[]], "output": [[1]]}]), None, "a grid needs at least one row"),
        (broken(train=[{"input": [[1]]}]), None, "train 1 has no output"),
        (broken(train=["x"]), None, "train 1 has no input"),
        (broken(train=[]), None, 'needs a "train" and a "test" list'),
        (broken(test=[{"input": [[0] * 31]}]), None, "1×31 cells"),
    ],
)
def test_a_bad_task_is_one_line_that_names_it(tmp_path: Path, challenges: Any, solutions: Any, words: str) -> None:
    file = write(tmp_path / "c.json", challenges)
    with pytest.raises(UserError, match="task t1") as error:
        load_tasks(file, write(tmp_path / "s.json", solutions) if solutions else "")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_task_to_train_on_needs_its_output(tmp_path: Path) -> None:
    file = str(write(tmp_path / "c.json", {"t1": BODY}))
    with pytest.raises(UserError, match="task t1: test 1 has no output"):
        Arc(Arc.Options(train=file, test=file)).tasks("train", None, 0)


def test_a_puzzle_to_learn_from_is_not_held_out_as_well_under_whatever_name(tmp_path: Path) -> None:
    other = {**BODY, "train": [{"input": [[1]], "output": [[2]]}]}
    train = str(write(tmp_path / "train.json", {"a": other, "b": BODY}))
    solutions = str(write(tmp_path / "solutions.json", {"a": SOLUTION, "b": SOLUTION}))
    asked_anew = {**BODY, "test": [{"input": [[3]]}]}
    for name, held_out in (("same.json", {"b": BODY}), ("renamed.json", {"c": asked_anew})):
        test = str(write(tmp_path / name, held_out))
        arc = Arc(Arc.Options(train=train, train_solutions=solutions, test=test))
        assert len(arc.tasks("test", None, 0)) == 1
        with pytest.raises(UserError, match=r"train.json and .*json: both hold the puzzle 'b'"):
            arc.tasks("train", None, 0)
    test = str(write(tmp_path / "apart.json", {"a": {**BODY, "train": [PAIR]}}))
    assert len(Arc(Arc.Options(train=train, train_solutions=solutions, test=test)).tasks("train", None, 0)) == 2


def test_solutions_for_other_tasks_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "c.json", {"t1": BODY})
    with pytest.raises(UserError, match=r"solutions for other tasks \(zz"):
        load_tasks(file, write(tmp_path / "s.json", {"zz": SOLUTION}))


def test_a_file_that_is_no_tasks_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{")
    for path, words in (
        (tmp_path / "c.json", "not readable"),
        (tmp_path / "no.json", "no such file"),
        (tmp_path, "not readable"),
    ):
        with pytest.raises(UserError, match=words):
            load_tasks(path)


def test_a_seed_picks_the_same_tasks_again(tmp_path: Path) -> None:
    file = str(write(tmp_path / "many.json", {f"t{i}": BODY for i in range(9)}))
    arc = Arc(Arc.Options(train=file, test=file))
    picked = [[task.id for task in arc.tasks("test", 4, seed)] for seed in (1, 1, 2, 3)]
    assert picked[0] == picked[1]
    assert len(set(map(tuple, picked))) > 1
    with pytest.raises(UserError, match="9 tasks, 10 were asked for"):
        arc.tasks("test", 10, 1)


def test_templates_replace_the_wording(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("PUZZLE {description}\n")
    (tmp_path / "e.txt").write_text("DECIDE", encoding="utf-8-sig")  # as editors on Windows begin a file
    file = str(write(tmp_path / "c.json", {"t1": BODY}))
    own = {"message_template": str(tmp_path / "m.txt"), "edit_template": str(tmp_path / "e.txt")}
    arc = Arc(Arc.Options(train=file, test=file, **own))
    (task,) = arc.tasks("test", None, 0)
    assert arc.questions(task)[0][0].content.startswith("PUZZLE \n[[1 2]")  # type: ignore[union-attr]
    assert arc.prompt(task)[0].content == "DECIDE"  # type: ignore[union-attr]
    with pytest.raises(UserError, match="template cannot be read"):
        Arc(Arc.Options(train=file, test=file, edit_template=str(tmp_path / "none.txt")))


@needs_shared
def test_the_published_subsets_become_trials_and_questions() -> None:
    data = SHARED / "data/arc"
    names = {
        "train": str(data / "arc-agi_training_challenges_filtered_1B_training_set.json"),
        "train_solutions": str(data / "arc-agi_training_solutions_filtered_1B_training_set.json"),
        "test": str(data / "arc-agi_evaluation_challenges_filtered_1B_eval_set.json"),
        "test_solutions": str(data / "arc-agi_evaluation_solutions_filtered_1B_eval_set.json"),
    }
    arc = Arc(Arc.Options(**names))
    for split, count in (("train", 12), ("test", 10)):
        tasks = arc.tasks(split, None, 0)  # type: ignore[arg-type]
        assert len(tasks) == count
        for task in tasks:
            assert arc.recipe(task, EDIT, 0).examples
            assert asyncio.run(arc.grade(task, perfect(task))).reward == 1.0
