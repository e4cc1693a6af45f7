"""A user's own modules: what goes wrong in them is told in a line, and what they hold is part of what a run is."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seal_ray import Config, Journal, Store, load, plugins, run
from seal_ray.cli.app import main
from seal_ray.rundir.directory import CONFIG
from seal_ray.types import UserError
from tests.in_process import CountingCluster

SMALL = """[model]
path = "microworld"
max_length = 64
[domain]
name = "names_{0}:Names"
train = 2
test = 2
[domain.options]
file = "names.txt"
[grading]
name = "judge_{0}:Judge"
[selection]
rule = "rule_{0}:first"
[selection.reward.own]
"part_{0}:part" = 0.1
[sampling]
engine = "transformers"
per_task = 2
max_tokens = 4
[trial]
seeds = 1
answer_tokens = 2
[trial.optim]
epochs = 1
[update.optim]
epochs = 1
[evaluation]
baselines = ["base"]
[run]
rounds = 1
[workers]
address = "in-process"
"""
DOMAIN = """from dataclasses import dataclass
from seal_ray import Baseline, Example, Grade, Item, Question, Recipe, Task

class Names:
    @dataclass(frozen=True)
    class Options:
        file: str = ""

    name, schema, stop, sample_stop = "names", None, ("\\n",), ("\\n",)

    def __init__(self, options, lora, optim, grader=None):
        self.options, self.lora, self.optim, self.grader = options, lora, optim, grader

    def tasks(self, split, count, seed):
        names = FILE.read_text().split()[split == "test" :: 2][:count]
        return [Task(n, n, f"{n} is {len(n)}.", (Question(f"{n} is", "4"), Question(f"{n} has", "5"))) for n in names]

    def prompt(self, task):
        return task.context

    def recipe(self, task, completion, seed):
        return Recipe((Example(completion or "x"),), self.lora, self.optim)

    def baseline(self, name, task, seed):
        return Baseline(None, self.questions(task)) if name == "base" else None

    def questions(self, task):
        return tuple(question.prompt for question in task.questions)

    async def grade(self, task, answers):
        items = [Item(q.prompt, q.answer, a) for q, a in zip(task.questions, answers, strict=True)]
        verdicts = tuple(await self.grader.grade(items))
        return Grade(verdicts, sum(verdicts) / len(verdicts))
"""
JUDGE = """from marks_{0} import MARK

class Judge:
    async def grade(self, items):
        return [MARK] * len(items)
"""
RULE = "def first(candidates, seed):\n    return candidates[:1]\n"
UPDATE = """from dataclasses import replace
from seal_ray.types import ObjectiveSpec
from seal_ray.update.sft import Sft

class Mine(Sft):
    def request(self, found, settings, seed):
        return replace(super().request(found, settings, seed), objective=ObjectiveSpec("goal_own:Goal"))
"""
GOAL = """from seal_ray.bank.objectives import CrossEntropy

class Goal(CrossEntropy):
    def loss_and_grad(self, logits_LV, labelled, reference_LV):
        raise ValueError("of no shape")
"""
PART = "def part(edit, outcome):\n    return 1.0\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config beside a domain, a grader with a helper, a rule and a part of the reward."""
    monkeypatch.setattr(plugins, "_BESIDE", [])
    monkeypatch.setattr(plugins, "_READ", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "names.txt").write_text("Ash Birch Cedar Dogwood Elm Fir")
    (tmp_path / "run.toml").write_text(SMALL.format("own"))
    texts = {"names": DOMAIN.replace("FILE", f"__import__('pathlib').Path({str(tmp_path / 'names.txt')!r})")}
    texts |= {"judge": JUDGE.format("own"), "marks": "MARK = 0.25\n", "rule": RULE, "part": PART}
    for name, text in texts.items():
        (tmp_path / f"{name}_own.py").write_text(text)
    return tmp_path


@pytest.fixture
def again() -> Callable[[], None]:
    """As in a new process: nothing of the user's is imported."""

    def forget() -> None:
        plugins._READ.clear()
        for name in [name for name in sys.modules if name.endswith("_own")]:
            del sys.modules[name]

    forget()
    return forget


def config(folder: Path, *more: str) -> Config:
    return load(folder / "run.toml", ["--run.dir", str(folder / "run"), *more])


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def rewards(folder: Path) -> set[float]:
    return {row["reward"] for row in Journal(Store(str(folder))).rows("outcomes")}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("judge", "[MARK]", "[MARK / 2]"),
        ("marks", "0.25", "0.5"),
        ("rule", "[:1]", "[1:]"),
        ("part", "1.0", "2.0"),
        ("names", "context", "title"),
    ],
)
def test_a_run_does_not_go_on_with_other_code_than_it_was_begun_with(
    folder: Path, again: Callable[[], None], name: str, old: str, new: str
) -> None:
    run(config(folder, "--run.rounds", "0"))
    run(config(folder, "--run.rounds", "0"))  # the same goes on
    replaced(folder / f"{name}_own.py", old, new)
    again()
    with pytest.raises(UserError, match=r"the code of .*_own:.*the content has changed.*--force --beside"):
        run(config(folder, "--run.rounds", "0"))


def test_what_another_code_leaves_as_it_was_is_taken_along_and_judged_anew(
    folder: Path, again: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(folder, "--run.rounds", "0"))
    assert rewards(folder / "run") == {0.25}
    replaced(folder / "marks_own.py", "0.25", "0.5")
    again()
    monkeypatch.setattr("seal_ray.loop.session.open_cluster", CountingCluster)
    CountingCluster.done.clear()
    run(config(folder, "--run.rounds", "0"), force=True, beside=str(folder / "run"))
    assert rewards(folder / "run") == {0.5}
    assert not CountingCluster.done, "nothing is written or trained again"


def test_a_run_of_a_version_that_kept_no_code_goes_on(folder: Path, again: Callable[[], None]) -> None:
    run(config(folder, "--run.rounds", "0"))
    tree = json.loads((folder / "run" / CONFIG).read_text())
    contents = tree["identity"]["contents"]
    assert {name for name in contents if name.startswith("the code of")} == {
        "the code of domain.name names_own:Names",
        "the code of grading.name judge_own:Judge",
        "the code of selection.rule rule_own:first",
        "the code of selection.reward.own part_own:part",
    }
    tree["identity"]["contents"] = {name: held for name, held in contents.items() if not name.startswith("the code")}
    (folder / "run" / CONFIG).write_text(json.dumps(tree))
    replaced(folder / "rule_own.py", "[:1]", "[1:]")
    again()
    run(config(folder, "--run.rounds", "0"))


def test_a_process_does_not_take_a_file_for_what_it_imported_before_that_changed(
    folder: Path, again: Callable[[], None]
) -> None:
    run(config(folder, "--run.rounds", "0"))
    replaced(folder / "marks_own.py", "0.25", "0.5")
    with pytest.raises(UserError, match=r"marks_own\.py has changed since this process imported it"):
        run(config(folder, "--run.rounds", "0", "--run.dir", str(folder / "other")))
    assert not (folder / "other").exists()


def test_a_file_of_the_same_name_beside_another_config_is_not_taken_for_it(
    folder: Path, again: Callable[[], None]
) -> None:
    run(config(folder, "--run.rounds", "0"))
    other = folder.with_name("another-config")
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("run", "names_own.py"))
    with pytest.raises(UserError, match=rf"{other}/\w+_own\.py cannot be had, for this process has {folder}/"):
        run(config(other, "--run.rounds", "0"))


def test_a_run_does_not_go_on_with_other_tasks_of_a_file_that_is_no_source(
    folder: Path, again: Callable[[], None]
) -> None:
    run(config(folder, "--run.rounds", "0"))
    (folder / "names.txt").write_text("Ash Beech Cedar Dogwood Elm Fir")
    with pytest.raises(UserError, match=r"cannot go on with other tasks \(the held-out tasks are others: 1 are gone"):
        run(config(folder, "--run.rounds", "0"))


def test_a_rule_that_depends_on_more_than_it_is_given_does_not_go_on(
    folder: Path, again: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(folder / "rule_own.py", "candidates[:1]", "[candidates[int(__import__('os').environ['PICK'])]]")
    monkeypatch.setenv("PICK", "0")
    run(config(folder))
    run(config(folder))
    monkeypatch.setenv("PICK", "1")
    with pytest.raises(UserError, match=r"round 1: other self-edits were kept before than now"):
        run(config(folder))


def said(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """What a command ends with, which is a line."""
    with pytest.raises(SystemExit) as ended:
        main(["run", str(folder / "run.toml"), "--quiet", "--run.dir", str(folder / "run"), *more])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_an_objective_is_part_of_the_code_of_the_rule_that_names_it(
    folder: Path, again: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "update_own.py").write_text(UPDATE)
    (folder / "goal_own.py").write_text(GOAL)
    more = ("--update.rule", "update_own:Mine", "--evaluation.samples", "0")
    assert "goal_own.py, line 5, in loss_and_grad: ValueError: of no shape; mend it" in said(folder, capsys, *more)
    replaced(folder / "goal_own.py", "of no shape", "")
    again()
    assert "the code of update.rule update_own:Mine: the content has changed" in said(folder, capsys, *more)


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        ("judge", "return", "raise KeyError('x')  #", r"judge_own\.py, line 5, in grade: KeyError: 'x'; mend it"),
        ("judge", "return [MARK]", "exit(3)\n        return [MARK]", r"judge_own\.py, line 5, in grade: SystemExit: 3"),
        ("judge", "len(items)", "1", "'names': its `grade` gave 1 verdict on 2 answers; it has to give one on each"),
        ("judge", "async def", "def", "grading.name 'judge_own:Judge': has no `async def grade`"),
        ("judge", "class Judge", "Judge = lambda: None\nclass Other", "has no `async def grade`"),
        ("judge", "class Judge", "class", r"cannot be imported: SyntaxError: .*\(judge_own\.py, line 3\)"),
        (
            "judge",
            "class Judge",
            "1 / 0\nclass Judge",
            r"ZeroDivisionError: division by zero \(.*judge_own\.py, line 3\)",
        ),
        ("judge", "class Judge", "exit()\nclass Judge", r"cannot be imported: SystemExit"),
        ("judge", "class Judge", "import os\nos.x\nclass Judge", "module 'os' has no attribute 'x'"),
        ("rule", "return candidates[:1]", "candidates.clear()", "selection.rule: chose None, which is no candidate of"),
        ("rule", "candidates[:1]", "[c.edit for c in candidates]", "selection.rule: chose SelfEdit.*is no candidate"),
        ("rule", ", seed", "", "neither a Rule nor a function of candidates and seed: too many positional arguments"),
        ("part", ", outcome", "", "no function of a self-edit and an outcome: too many positional arguments"),
        ("names", "return Recipe(", "Recipe(", "'names': its `recipe` gave None; a Recipe is wanted"),
        ("names", "(Example(", "(str(", r"names_own\.py, line \d+, in recipe: TypeError: a tuple of Example is wanted"),
        ("names", "[:count]", "", r"its tasks\('test', 2, …\) are 3; give no more than are asked for"),
        ("names", "return [Task", "yield [Task", "are a generator; a list is wanted"),
        ("names", "Task(n,", "Task(len(n),", "each is a Task whose id, title, context and answers are texts"),
        ("names", "return task.context", "return None", "None is no prompt; a text, or a tuple"),
        ("names", "def questions", "def asked", "domain.name 'names_own:Names': has no 'questions'"),
        ("names", "    @dataclass(frozen=True)\n", "", "Names.Options is no frozen dataclass"),
        ("names", "return Grade(", "return tuple(", r"line \d+, in grade: TypeError"),
        ("names", "return Grade(verdicts, ", "return (", "its `grade` gave 0.25; a Grade is wanted"),
    ],
)
def test_what_is_wrong_with_ones_own_is_told_in_a_line(
    folder: Path,
    again: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    name: str,
    old: str,
    new: str,
    line: str,
) -> None:
    replaced(folder / f"{name}_own.py", old, new)
    told = said(folder, capsys)
    assert re.search(line, told), told
