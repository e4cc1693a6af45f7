"""What a run leaves for others: its kept self-edits as rows, its policy as an adapter or as a whole model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seal_ray.answers import held_out_answers, last_arm
from seal_ray.directory import recorded_config
from seal_ray.domains.base import Submitting
from seal_ray.domains.registry import load_domain
from seal_ray.models import SHIPPED, resolve
from seal_ray.policies import load_policy
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.report.rounds import rounds
from seal_ray.summary import cells, summarize
from seal_ray.types import UserError


def export_self_edits(directory: str, out: str) -> int:
    """Write the self-edits the last policy was finetuned on as `{"prompt", "completion"}` lines; returns how many.

    One that was cut off by the token limit says `"finished": false`: it is not to be taught with an end.
    """
    journal = Journal(Store(directory))
    kept = list(journal.rows("kept"))
    if not kept:
        raise UserError(f"{directory}: no self-edits were kept here yet")
    last = kept[-1]["stage"]
    wanted = [row["self_edit"] for row in kept if row["stage"] == last]
    rows = {row["key"]: row for row in journal.rows("self_edits")}
    lines = [json.dumps(_self_edit(rows[key]), ensure_ascii=False) for key in wanted]
    Path(out).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def export_adapter(directory: str, out: str) -> int:
    """Write the last policy as a PEFT folder with a model card; returns its version."""
    version = last_policy(directory)
    base = recorded_config(directory).model.path  # which need not be on this machine
    load_policy(Store(directory), version).save(out, resolve(base) if base in SHIPPED else base)
    _finish(directory, version, out)
    return version


def export_merged(directory: str, out: str) -> int:
    """Write the last policy as a whole Hugging Face model, its adapter merged into the base; returns its version."""
    from seal_ray.workers.loading import ModelSpec, load_model, load_tokenizer
    from seal_ray.workers.whole import merge

    config = recorded_config(directory)
    version = last_policy(directory)
    model = config.model
    spec = ModelSpec(resolve(model.path), model.revision, model.dtype, model.max_length)
    merged = load_model(spec)
    merge(merged, load_policy(Store(directory), version))
    merged.save_pretrained(out)
    load_tokenizer(spec).save_pretrained(out)
    _finish(directory, version, out)
    return version


def _finish(directory: str, version: int, out: str) -> None:
    """Add the model card, and let whoever may read it read the weights, which safetensors keeps to their writer."""
    card = Path(out) / "README.md"
    card.write_text(model_card(directory, version), encoding="utf-8")
    for weights in Path(out).glob("*.safetensors"):
        shutil.copymode(card, weights)


def export_submission(directory: str, out: str) -> int:
    """Write the last policy's answers on held-out tasks in the form they are handed in; returns how many tasks."""
    config = recorded_config(directory)
    domain = load_domain(config)
    if not isinstance(domain, Submitting):
        raise UserError(f"{directory}: answers of the domain {config.domain.name!r} are not handed in anywhere")
    journal = Journal(Store(directory))
    arms = list(summarize(journal))
    if not arms:
        raise UserError(f"{directory}: no held-out task has been answered here yet")
    tasks = domain.tasks("test", config.domain.test or None, config.run.seed)
    Path(out).write_text(domain.submission(tasks, held_out_answers(journal, last_arm(arms))), encoding="utf-8")
    return len(tasks)


def last_policy(directory: str) -> int:
    versions = [row["version"] for row in Journal(Store(directory)).rows("policies")]
    if not versions:
        raise UserError(f"{directory}: no policy has been trained here yet")
    return max(versions)


def model_card(directory: str, version: int) -> str:
    """What was trained on what, and what was measured."""
    config = recorded_config(directory)
    journal = Journal(Store(directory))
    policies = {row["version"]: row for row in journal.rows("policies")}
    lines = [
        "---",
        f"base_model: {config.model.path}",
        "library_name: peft",
        "tags: [self-adapting, rest-em]",
        "---",
        f"# {config.run.name}, policy after round {version}",
        "",
        f"Finetuned with seal_ray from `{config.model.path}` in the domain `{config.domain.name}` (seed "
        f"{config.run.seed}): in each round the model wrote {config.sampling.per_task} self-edits for each of "
        f"{config.domain.train or 'all'} tasks, each was tried by training a LoRA on it and asking questions, and the "
        f"policy was finetuned on those chosen by the rule `{config.selection.rule}`.",
        "",
        "| round | self-edits kept | reliability of rewards | steps | first loss | last loss | adapter rank |",
        "|---|---|---|---|---|---|---|",
    ]
    trusted = _reliability(journal)
    for number in range(1, version + 1):
        row = policies[number]
        losses = f"{row['first_loss']:.3f} | {row['last_loss']:.3f}"
        kept = f"{row['kept']} | {trusted.get(number, 'one seed cannot tell')}"
        lines.append(f"| {number} | {kept} | {row['steps']} | {losses} | {row['rank']} |")
    lines += ["", "| held-out accuracy | mean | 95 % interval | tasks | failed trials |", "|---|---|---|---|---|"]
    for arm, m in summarize(journal).items():
        lines.append(f"| {arm} | {' | '.join(cells(m))} |")
    return "\n".join(lines) + "\n"


def _reliability(journal: Journal) -> dict[int, str]:
    """By round, the share of the variance between mean rewards that is truth and not the luck of a seed."""
    outcomes = {row["key"]: row for row in journal.rows("outcomes")}
    found = rounds(list(journal.rows("planned")), outcomes, (), journal.rows("kept"), ())
    return {round_.number: f"{round_.reliability:.2f}" for round_ in found if round_.reliability is not None}


def _self_edit(row: Mapping[str, Any]) -> dict[str, Any]:
    cut = {} if row["finished"] else {"finished": False}
    return {"prompt": _prompt(row["prompt"]), "completion": row["completion"], **cut}


def _prompt(text: str) -> str | list[dict[str, str]]:
    """A prompt as it was shown: a text, or the turns of a chat."""
    if text.startswith('[{"role": '):
        turns: list[dict[str, str]] = json.loads(text)
        return turns
    return text
