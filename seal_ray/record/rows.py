"""The rows of a run's tables: their schemas, and how the project's words become rows and come back."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from seal_ray.types import Failure, Outcome, Prompt, SelfEdit, content_key


def _schema(strings: str = "", integers: str = "", reals: str = "", **others: pa.DataType) -> pa.Schema:
    """A schema from names by type; every table has a string `key`."""
    fields = [(name, pa.string()) for name in ("key", *strings.split())]
    fields += [(name, pa.int64()) for name in integers.split()]
    fields += [(name, pa.float64()) for name in reals.split()]
    return pa.schema([*fields, *others.items()])


_TEXTS, _NUMBERS = pa.list_(pa.string()), pa.list_(pa.float64())

TABLES: dict[str, pa.Schema] = {
    "self_edits": _schema(
        "stage task_id prompt completion refused worker", "index policy seed tokens", finished=pa.bool_()
    ),
    "questions": _schema("task_id prompt completion worker"),
    "planned": _schema("stage arm task_id recipe trial", "index replicate policy seed"),
    "outcomes": _schema(
        "failure reason worker",
        "steps tokens",
        "reward first_loss last_loss seconds",
        answers=_TEXTS,
        verdicts=_NUMBERS,
        log_likelihoods=_NUMBERS,
    ),
    "policies": _schema("", "version parent kept steps rank", "first_loss last_loss compression_error seconds"),
    "continual": _schema("task_id", "version sequence step rank"),
    "kept": _schema("stage task_id self_edit", "index", "reward"),
    "spans": _schema("stage what worker", "", "start end"),
}


def prompt_text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else json.dumps([vars(message) for message in prompt])


def self_edit_row(edit: SelfEdit, stage: str, worker: str) -> dict[str, Any]:
    prompt = prompt_text(edit.prompt)
    names = ("task_id", "index", "policy", "completion", "seed", "tokens", "finished", "refused")
    fields = {name: getattr(edit, name) for name in names}
    return fields | {"key": edit.key, "stage": stage, "prompt": prompt, "worker": worker}


def planned_row(
    stage: str, arm: str, task_id: str, index: int, replicate: int, trial: str, key: str = "", **more: Any
) -> dict[str, Any]:
    key = key or content_key(stage, arm, task_id, index, replicate, trial)
    where = {"stage": stage, "arm": arm, "task_id": task_id, "index": index, "replicate": replicate}
    return {"key": key, "trial": trial, **where, **more}


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    row = {k: v for k, v in vars(outcome).items() if k not in ("failure", "warnings")}
    failure = outcome.failure
    return row | {"failure": failure.kind if failure else None, "reason": failure.reason if failure else None}


def outcome_from_row(row: dict[str, Any]) -> Outcome:
    fields = {name: value for name, value in row.items() if name != "reason"}
    fields["failure"] = Failure(row["failure"], row["reason"]) if row["failure"] else None
    for name in ("answers", "verdicts", "log_likelihoods"):
        fields[name] = tuple(row[name] or ())
    return Outcome(**fields)
