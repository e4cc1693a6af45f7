"""What is shipped: a wheel that works without the checkout, a whole source distribution, public names found lazily."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import seal_ray
from tests.runs import SMALL

ROOT = Path(__file__).parents[1]
NOT_SHIPPED = (".git", ".venv*", ".*_cache", ".hypothesis", "runs", "build", "dist", "*.egg-info", "__pycache__")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in, so that nothing is left in this one."""
    folder = tmp_path_factory.mktemp("checkout") / "seal_ray"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(checkout))
    (found,) = target.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--target", str(target), str(wheel))
    return target


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def python(installed: Path, folder: Path, *arguments: str) -> str:
    """Run Python in a folder that has nothing to do with the checkout, on the installed package."""
    env = os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_its_jobs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"seal_ray", f"seal_ray-{seal_ray.__version__}.dist-info"}
    inside = {name.removeprefix("seal_ray/jobs/") for name in names if name.startswith("seal_ray/jobs/")}
    shipped = {path.name for path in (ROOT / "jobs").iterdir() if path.suffix in (".toml", ".jsonl")}
    assert inside == shipped
    assert {"seal_ray/py.typed", "seal_ray/domains/microworld/base/model.safetensors"} <= set(names)


@pytest.mark.slow
def test_the_installed_wheel_begins_from_any_folder(installed: Path, tmp_path: Path) -> None:
    where = python(installed, tmp_path, "-c", "import seal_ray; print(seal_ray.__file__)").strip()
    assert where == str(installed / "seal_ray/__init__.py")
    python(installed, tmp_path, "-m", "seal_ray", "init", "microworld", "mine")
    shown = python(
        installed, tmp_path, "-m", "seal_ray", "plan", "mine/microworld.toml", "--gpu", "h100", "--gpus", "1"
    )
    assert "GPU hours" in shown


@pytest.mark.slow
def test_the_installed_wheel_runs_the_demo_in_any_folder(installed: Path, tmp_path: Path) -> None:
    smaller = [*SMALL, "--run.rounds", "1", "--workers.address", "in-process"]
    said = python(installed, tmp_path, "-m", "seal_ray", "demo", "--seed", "3", "--quiet", "--json", *smaller)
    table = json.loads(said[: said.rindex("}") + 1])
    assert list(table)[-2:] == ["after round 1", "control, after round 1"]
    assert (tmp_path / "runs/demo-3/report.html").is_file()
    assert (tmp_path / "runs/demo-3/control/config.json").is_file()


TRAIN = """
from seal_ray import Bank, Job, OptimSpec
from seal_ray.bank import TokenText
from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.model.locate import resolve
spec = ModelSpec(resolve("microworld"), None, "float32", 64)
job = Job("first", (TokenText.of((5, 6), (7, 8)),), optim=OptimSpec(epochs=2), seed=1)
(done,) = Bank(load_model(spec), load_tokenizer(spec), slots=1).run([job])
print(len(done.losses))
"""


@pytest.mark.slow
def test_the_installed_wheel_trains_an_adapter_on_the_base_it_brings(installed: Path, tmp_path: Path) -> None:
    assert python(installed, tmp_path, "-c", TRAIN).split()[-1] == "2"


def test_the_source_distribution_is_whole(checkout: Path, tmp_path: Path) -> None:
    build = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        inside = {name.partition("/")[2] for name in packed.getnames()}
    here = {str(path.relative_to(checkout)) for path in checkout.rglob("*") if path.is_file()}
    ours = {name for name in here if not re.search(r"^(build|dist)/|\.egg-info/|\.py[co]$|^\.gitignore$", name)}
    assert ours - inside == set()


def test_the_version_and_the_authors_are_the_same_wherever_they_stand() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert project["version"] == seal_ray.__version__ == re.findall(r"^version: (.+)$", citation, re.M)[0]
    assert f"- name: {project['authors'][0]['name']}" in citation


def test_the_python_that_runs_these_tests_is_the_one_that_was_tried() -> None:
    tried = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert f"Programming Language :: Python :: {sys.version_info.major}.{sys.version_info.minor}" in tried
    assert "Operating System :: POSIX :: Linux" in tried


def test_importing_the_package_imports_nothing_of_it_and_shows_every_public_name() -> None:
    code = (
        "import sys, seal_ray\n"
        "print([m for m in sys.modules if m.startswith(('seal_ray.', 'torch', 'ray', 'pydantic'))])\n"
        "print([name for name in seal_ray.__all__ if name not in dir(seal_ray)])\n"
        "seal_ray.Config, seal_ray.load, seal_ray.Adapter, seal_ray.Rule, seal_ray.Task, seal_ray.Domain\n"
        "print([m for m in ('torch', 'ray') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["[]", "[]", "[]"]


def test_a_public_name_is_declared_for_type_checkers_where_it_is_found() -> None:
    tree = ast.parse((ROOT / "seal_ray/__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {
        (node.module, name.name) for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert declared == {(f"seal_ray.{module}", name) for module, names in seal_ray._NAMES.items() for name in names}
    assert {name for _, name in declared} | {"__version__"} == set(seal_ray.__all__)


def test_a_name_that_is_not_public_is_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'seal_ray' has no attribute 'nothing'"):
        seal_ray.nothing  # noqa: B018
