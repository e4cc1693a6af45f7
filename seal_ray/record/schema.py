"""What newer versions changed about how a run is written down, so that a directory of an older one can be continued.

Whoever renames or drops a setting says so here; a test continues a directory of each released version and fails when
that was forgotten. A TOML file with an old name is refused with the new one; a run directory is brought up to date.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seal_ray.types import UserError

SCHEMA = 2
"""The version of what config.json and the journal hold. 1 is that of 0.1.0, which wrote no number."""

_SCHEMA_KEY, _RUN_KEY = "seal_ray.schema", "seal_ray.run"

RENAMED: dict[str, str] = {
    "domain.unsolved": "domain.skip_solved",
    "trial.answering": "trial.eval_engine",
    "selection.memory_coef": "selection.reward.memory",
    "update.hold": "update.kl_coef",
    "evaluation.together": "evaluation.joint",
    "evaluation.full": "evaluation.full_finetune",
    "workers.split": "workers.allocation",
    "workers.tokens_per_step": "workers.max_tokens_per_microbatch",
    "workers.update_tokens": "workers.min_tokens_per_replica",
}
"""Settings by their old name, as `section.key`, and what they are called now."""

DROPPED: dict[str, Any] = {}
"""Settings that are gone, and the value under which they did what is done now without them."""


OPTIONS_THEN: dict[tuple[str, str], dict[str, Any]] = {
    ("domain", "knowledge"): {"chat": False, "question": "Topic: {title}\n{question}"},
    ("grading", "local judge"): {"chat": True},
}
"""Options that have another default now, and what it was for runs that did not write them down: those of 0.1.0."""

_SHIPPED = "seal_ray/grading/weights.json"
"""A file of the package, which an option names by default."""


def checked(schema: int, where: str) -> int:
    """The number itself, unless only a newer version can know what it means."""
    if schema > SCHEMA:
        raise UserError(f"{where}: written by a newer version of seal_ray; continue it with that one")
    return schema


def stamp(run: str | None) -> dict[str, str]:
    """The metadata of a segment of the journal."""
    return {_SCHEMA_KEY: str(SCHEMA)} | ({_RUN_KEY: run} if run else {})


def run_of(said: Mapping[bytes, bytes]) -> str | None:
    """The run that a segment names."""
    return said.get(_RUN_KEY.encode(), b"").decode() or None


def check_stamp(said: Mapping[bytes, bytes], run: str | None, where: str) -> None:
    """Refuse a segment of a newer version, and where a run is named, one of another run."""
    checked(int(said.get(_SCHEMA_KEY.encode(), b"1")), where)
    owner = run_of(said) or ""
    if run is not None and owner != run:  # 0.1.0 named none
        raise UserError(f"{where}: holds rows of another run ({owner or 'unnamed'}); take it out of the folder")


def brought_up(config: dict[str, Any], where: str) -> dict[str, Any]:
    """A recorded config in the words of this version. A setting added since then gets its default when it is parsed."""
    tree = copy.deepcopy(config)
    for old, new in RENAMED.items():
        value = _taken(tree, old)
        if value is not None:
            *sections, key = new.split(".")
            _section(tree, sections)[key] = value
    for old, neutral in DROPPED.items():
        value = _taken(tree, old)
        if value is not None and value != neutral:
            raise UserError(f"{where}: {old} is {value!r}, and this version only does what {neutral!r} did")
    for (section, name), then in OPTIONS_THEN.items():
        held = tree.get(section, {})
        if held.get("name") == name:
            held["options"] = then | held.get("options", {})
    options = tree.get("grading", {}).get("options", {})
    weights = str(options.get("weights", ""))
    if weights.endswith(_SHIPPED) and not Path(weights).exists():
        del options["weights"]  # they lie where the package is installed now
    return tree


def _taken(tree: dict[str, Any], name: str) -> Any:
    """A setting's value, taken out of the tree; None where it has none."""
    *sections, key = name.split(".")
    for section in sections:
        tree = tree.get(section, {})
    return tree.pop(key, None)


def _section(tree: dict[str, Any], names: list[str]) -> dict[str, Any]:
    for name in names:
        tree = tree.setdefault(name, {})
    return tree
