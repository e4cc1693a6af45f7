"""The documentation says what is so: its links, names, settings, commands and map are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import seal_ray
from seal_ray.cli import settings
from seal_ray.cli.app import app
from seal_ray.record.schema import RENAMED
from tests.console import PAGES, ROOT
from tests.test_structure import arrows

ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
MAP = re.findall(r"^\| `([\w.]+)/?` \|", ARCHITECTURE.partition("## The map")[2], re.M)
SEAMS = re.findall(r"^\| `(\w+)` \| `([\w/.]+)` \|", ARCHITECTURE, re.M)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1200


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"\b(?:seal_ray|tests|jobs|examples|cluster|benchmarks|docs)/[\w./]*\w", page.read_text())
    assert {name for name in named if not (ROOT / name).exists()} <= {"jobs/NAME.toml", "jobs/NAME.py"}


@every_page
def test_settings_that_are_named_exist(page: Path) -> None:
    groups = settings.groups()
    sections = {group.name.partition(".")[0] for group in groups}
    known = {group.name for group in groups} | {each.key for group in groups for each in group.settings}
    said = re.findall(r"`(?:--)?((?:[a-z_]+\.)+[a-z_]+)\b(?!\()", page.read_text())
    named = {name for name in said if name.partition(".")[0] in sections and not name.endswith((".md", ".py", ".json"))}
    old = set(RENAMED) if page.name == "upgrading.md" else set()
    options = {name for name in named if re.match(r"(domain|grading|update)\.options\.", name)}
    assert named - known - old - options == set()


@every_page
def test_commands_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    assert set(re.findall(r"seal-ray ([a-z]+)\b", text)) <= set(app)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z-]+)\b(?=`|  )", text)) <= targets


def python_blocks() -> Iterator[ast.Module]:
    for page in PAGES:
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
            yield ast.parse(block)


def test_every_name_that_the_documentation_imports_is_public() -> None:
    named = set()
    for block in python_blocks():
        for node in ast.walk(block):
            if isinstance(node, ast.ImportFrom):
                assert node.module == "seal_ray"
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "seal_ray":
                named.add(node.attr)
    assert {"Observer", "Event", "Domain", "UpdateRule", "Bank", "run", "load"} <= named <= set(seal_ray.__all__)
    assert all(getattr(seal_ray, name) for name in named)


def test_every_room_and_module_is_on_the_map_and_uses_only_those_above_it() -> None:
    package = ROOT / "seal_ray"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    assert sorted(MAP) == sorted(rooms | modules)
    order = [name.removesuffix(".py") for name in MAP]
    uses = {room.partition(".")[2]: {other.partition(".")[2] for other in others} for room, others in arrows().items()}
    for place, name in enumerate(order):
        assert uses.get(name, set()) <= set(order[:place]), f"{name} uses a room below it: move it on the map"


def test_every_seam_is_in_the_file_that_is_named() -> None:
    assert len(SEAMS) > 8
    for name, file in SEAMS:
        assert f"\nclass {name}" in (ROOT / "seal_ray" / file).read_text(), (name, file)


def test_upgrade_notes_have_every_renamed_setting() -> None:
    settings_, _, _ = (ROOT / "docs/upgrading.md").read_text().partition("## Run directories")
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([a-z_.]+)` \|$", settings_, re.M)
    assert dict(rows) == RENAMED


def test_the_changelog_dates_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(seal_ray.__version__)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.M)


def test_pictures_are_small() -> None:
    pictures = [*(ROOT / "docs").glob("*.png"), *(ROOT / "docs").glob("*.svg")]
    assert {path.name for path in pictures if path.stat().st_size > 150_000} == set()
