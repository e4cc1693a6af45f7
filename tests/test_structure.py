"""The house as it is built: rooms that do not lean on each other in a circle, and files one can read at once."""

from __future__ import annotations

import ast
import statistics
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1] / "seal_ray"
FILES = sorted(ROOT.rglob("*.py"))
BESIDE = [path for folder in ("benchmarks", "cluster", "jobs") for path in sorted((ROOT.parent / folder).rglob("*.py"))]
TREES = {path: ast.parse(path.read_text()) for path in FILES}
NAMES = {
    ".".join((ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__") for path in FILES
}


def room(name: str) -> str:
    """The folder below the package, or the file that lies in it without one."""
    return ".".join(name.split(".")[:2])


def imported(tree: ast.AST) -> set[str]:
    """What is imported at any time of a run: all but what only the type checker sees."""
    hidden = {
        id(below)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for below in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in hidden and (node.module or "").startswith("seal_ray"):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in NAMES else str(node.module) for name in whole}
    return found


def arrows() -> dict[str, set[str]]:
    """By room, the rooms that it imports from."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, tree in TREES.items():
        name = ".".join((ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        if name != ROOT.name:  # the package itself only names what it offers
            found[room(name)] |= {room(other) for other in imported(tree)} - {room(name), ROOT.name}
    return found


def test_no_rooms_import_each_other_in_a_circle() -> None:
    left = arrows()
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left


def test_few_files_lie_outside_of_rooms() -> None:
    assert len(list(ROOT.glob("*.py"))) <= 12


def test_every_file_can_be_read_at_once() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in [*FILES, *BESIDE]}
    assert {path: length for path, length in lengths.items() if length > 400} == {}
    assert statistics.median(lengths[path] for path in FILES) <= 120


def test_no_function_is_longer_than_a_screen() -> None:
    functions = {
        f"{path}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in [*FILES, *BESIDE]
        for node in ast.walk(TREES.get(path) or ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in functions.items() if length > 60} == {}


def test_no_generator_inside_another_is_left_for_later() -> None:
    """One that is made for each turn of another and read when all are awaited sees the names of the last turn."""
    comprehensions = ast.GeneratorExp | ast.ListComp | ast.SetComp
    late = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path, tree in TREES.items()
        for outer in ast.walk(tree)
        if isinstance(outer, comprehensions)
        for call in ast.walk(outer.elt)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "all_of"
        if any(isinstance(argument, ast.GeneratorExp) for argument in call.args)
    ]
    assert late == []
