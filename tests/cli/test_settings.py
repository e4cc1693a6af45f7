"""Every setting is listed with what it does, for the terminal and for the documentation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from seal_ray.cli import settings

PAGE = Path(__file__).parents[2] / "docs/configuration.md"


def test_every_setting_has_a_type_a_sentence_and_a_default_or_must_be_given() -> None:
    found = [each for group in settings.groups() for each in group.settings]
    assert [each.key for each in found if not (each.sentence.endswith(".") and each.type)] == []
    assert {each.key for each in found if not each.default} == {"model.path", "domain.name"}
    assert len({each.key for each in found}) == len(found) > 60


def test_a_section_that_another_sets_in_its_own_way_shows_its_own_defaults() -> None:
    defaults = {each.key: each.default for group in settings.groups() for each in group.settings}
    assert (defaults["trial.lora.rank"], defaults["update.lora.rank"]) == ("32", "64")


def test_the_page_of_the_documentation_is_the_config_tree_s() -> None:
    assert PAGE.read_text() == settings.as_markdown(), "python -m seal_ray.cli.settings > docs/configuration.md"


def test_the_help_of_run_lists_the_settings() -> None:
    shown = subprocess.check_output([sys.executable, "-m", "seal_ray", "run", "--help"], text=True)
    assert "--dry-run" in shown
    assert "  --selection.race  (whole number; 0)\n        Trials per task" in shown
