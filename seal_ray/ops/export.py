"""What a run leaves for others: its kept self-edits as rows, its policy as an adapter or as a whole model."""

from __future__ import annotations

import glob
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any

from seal_ray.adapters.lora import Adapter
from seal_ray.config import Config
from seal_ray.domains.base import Submittable
from seal_ray.domains.drawing import held_out_tasks
from seal_ray.domains.registry import load_domain
from seal_ray.model.loading import ModelSpec
from seal_ray.ops.card import model_card
from seal_ray.policy.catalogue import Held
from seal_ray.policy.foreign import named_base
from seal_ray.policy.lineage import MAIN, Row, adapter_of, keeps_apart, lineage
from seal_ray.record.answers import held_out_answers, last_arm
from seal_ray.record.journal import Journal
from seal_ray.record.local import LocalFiles
from seal_ray.record.rows import MERGE, KeptRow, OutcomeRow, PlannedRow, PolicyRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import policy_arm, summarize, version_of
from seal_ray.rundir.directory import recorded_config, refuse_another_base
from seal_ray.types import UserError

logger = logging.getLogger(__name__)

_PART = ".part-"
"""In the name of a folder that is being filled, before what tells it from another."""


def export_self_edits(directory: str, out: str) -> int:
    """Write the self-edits the last policy was finetuned on as `{"prompt", "completion"}` lines; returns how many.

    One that was cut off by the token limit says `"finished": false`: it is not to be taught with an end.
    """
    journal = Journal(Store(directory))
    kept = list(journal.read(KeptRow))
    if not kept:
        raise UserError(f"{directory}: no self-edits were kept here yet")
    wanted = [row.self_edit for row in kept if row.stage == kept[-1].stage]
    named = set(wanted)
    rows = {row.key: row for row in journal.read(SelfEditRow) if row.key in named}
    lines = [json.dumps(_self_edit(rows[key]), ensure_ascii=False) for key in wanted]
    _write(out, "\n".join(lines) + "\n")
    return len(lines)


def export_adapter(directory: str, out: str, which: str = "") -> int:
    """Write a policy as a PEFT folder with tokenizer and model card; returns its version."""
    row = chosen_policy(directory, which)
    with whole(out) as folder:
        write_adapter(directory, adapter_of(Store(directory), row), folder)
        _finish(model_card(directory, row, merged=False), folder)
    return row.version


def export_held(directory: str, held: Held, out: str) -> None:
    """Write any adapter of a run as such a folder."""
    adapter = held.load(Store(directory))
    with whole(out) as folder:
        write_adapter(directory, adapter, folder)
        _finish(model_card(directory, held.row, merged=False, lesson_rank=adapter.rank if held.alone else 0), folder)


@contextmanager
def whole(out: str) -> Iterator[Path]:
    """A folder to fill, whose files come to lie in `out` once all are written; if that fails, none does."""
    refuse_unnameable(out)
    target = Path(out).absolute()
    there = next(folder for folder in (target, *target.parents) if folder.is_dir())  # on the disk that is asked for
    with TemporaryDirectory(prefix=f"{target.name}{_PART}", dir=there) as part:
        yield Path(part)
        for file in [file for file in Path(part).rglob("*") if file.is_file()]:
            place = target / file.relative_to(part)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)


def remove_parts(out: str) -> None:
    """Remove what was left half-written of such a folder by a kill. Only for who alone writes there."""
    target = Path(out).absolute()
    for folder in (target, target.parent):
        for part in folder.glob(f"{glob.escape(target.name)}{_PART}*"):
            shutil.rmtree(part)


def refuse_unnameable(out: str) -> None:
    """Refuse a folder whose path is not UTF-8: no tokenizer can be written there."""
    try:
        str(Path(out).absolute()).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{out}: its whole path holds bytes that are not UTF-8, where no tokenizer can be written; name another"
        ) from None


def write_adapter(directory: str, adapter: Adapter, out: Path) -> None:
    """Write a PEFT folder that names the run's base, with the tokenizer where that is at hand."""
    config = recorded_config(directory)
    tokenizer = _tokenizer(config)
    if tokenizer:
        refuse_another_base(directory)
    adapter.save(out, named_base(config))
    if tokenizer:
        tokenizer.save_pretrained(out)


def _tokenizer(config: Config) -> Any:
    from seal_ray.model.loading import load_tokenizer

    try:
        return load_tokenizer(ModelSpec.of(config.model))
    except UserError as error:
        logger.warning("the folder is without a tokenizer, whose base is not at hand: %s", error)
        return None


def export_merged(directory: str, out: str, which: str = "") -> int:
    """Write a policy as a whole Hugging Face model, its adapter merged into the base; returns its version.

    That is the base as it is, also where the run kept it in 8 or 4 bits: nothing can be added to codes.
    """
    from seal_ray.model.loading import load_model, load_tokenizer
    from seal_ray.workers.full_finetune import merge

    config = recorded_config(directory)
    row = chosen_policy(directory, which)
    refuse_another_base(directory)
    spec = replace(ModelSpec.of(config.model), quantization="none")
    merged = load_model(spec)
    merge(merged, adapter_of(Store(directory), row))
    with whole(out) as folder:
        merged.save_pretrained(folder)
        load_tokenizer(spec).save_pretrained(folder)
        _finish(model_card(directory, row, merged=True), folder)
    return row.version


def _write(out: str, text: str) -> None:
    place = Path(out)
    if place.exists() and not place.is_file():  # a pipe, or /dev/stdout
        place.write_text(text, encoding="utf-8")
    else:
        place = place.resolve()
        LocalFiles(place.parent).write(place.name, text.encode())


def _finish(text: str, out: Path) -> None:
    """Add the model card, and let whoever may read it read the weights, which safetensors keeps to their writer."""
    card = out / "README.md"
    card.write_text(text, encoding="utf-8")
    for weights in out.glob("*.safetensors"):
        shutil.copymode(card, weights)


def export_submission(directory: str, out: str) -> int:
    """Write the last policy's answers on held-out tasks in the form they are handed in; returns how many tasks."""
    config = recorded_config(directory)
    domain = load_domain(config)
    if not isinstance(domain, Submittable):
        raise UserError(f"{directory}: answers of the domain {config.domain.name!r} are not handed in anywhere")
    journal = Journal(Store(directory))
    arms = list(summarize(journal))
    if not arms:
        raise UserError(f"{directory}: no held-out task has been answered here yet")
    tasks = held_out_tasks(config, domain)
    _write(out, domain.submission(tasks, held_out_answers(journal, last_arm(arms))))
    return len(tasks)


def chosen_policy(directory: str, which: str = "") -> Row:
    """The last policy of the rounds, that of a number or of a head, or with `best` the one that taught most.

    What taught most is measured on held-out tasks.
    """
    journal = Journal(Store(directory))
    heads = lineage(journal)
    if not heads:
        raise UserError(f"{directory}: no policy has been trained here yet")
    if which == "best":
        return _best(directory, journal, heads.get(MAIN, ()))
    newest = {head: rows[-1] for head, rows in heads.items()}
    known = {str(row.version): row for rows in heads.values() for row in rows} | newest
    which = which.replace(f" by {MERGE}", "", 1) if which.partition(" without ")[0].endswith(f" by {MERGE}") else which
    if not which and MAIN not in known:
        raise UserError(f"{directory}: no round has trained a policy; name another with --policy: {', '.join(heads)}")
    if (which or MAIN) not in known:
        numbers = sorted({row.version for rows in heads.values() for row in rows})
        raise UserError(f"--policy {which!r}: give best, or one of {', '.join([*map(str, numbers), *heads])}")
    row = known[which or MAIN]
    start = rounds[-1].adapter if (rounds := heads.get(MAIN)) else ""
    if not isinstance(row, PolicyRow) and row.adapter == start and keeps_apart(row.way):
        where = f"`seal-ray adapters list {quote(directory)}` names them"
        raise UserError(f"--policy {which!r}: each passage has an adapter of its own there; {where}")
    if not row.rank:
        raise UserError(f"--policy {which!r}: nothing could be learnt there; it is still the untouched base")
    return row


def _best(directory: str, journal: Journal, rows: Sequence[Row]) -> Row:
    measured, whole = summarize(journal), _measured_to_the_end(journal)
    arms = [(row, measured.get(arm)) for row in rows if (arm := policy_arm(row.version)) in whole]
    held_out = [(arm.accuracy, row) for row, arm in arms if arm and not arm.void]
    if not held_out:
        raise UserError(
            f"{directory}: no policy was measured on all held-out tasks yet, so none is known as the best; "
            "--policy takes the number of a round"
        )
    return max(held_out, key=lambda found: found[0])[1]


def _measured_to_the_end(journal: Journal) -> set[str]:
    """The arms of policies with all their trials; a run that goes on, or was stopped, has one with the first few."""
    planned = [row for row in journal.read(PlannedRow) if row.stage == "evaluation" and version_of(row.arm) is not None]
    ended = set(journal.table(OutcomeRow.TABLE)["key"].to_pylist())
    trials = Counter(row.arm for row in planned)
    under_way = {row.arm for row in planned if row.trial not in ended}
    return {arm for arm, count in trials.items() if count == max(trials.values())} - under_way


def _self_edit(row: SelfEditRow) -> dict[str, Any]:
    cut = {} if row.finished else {"finished": False}
    return {"prompt": _prompt(row.prompt), "completion": row.completion, **cut}


def _prompt(text: str) -> str | list[dict[str, str]]:
    """A prompt as it was shown: a text, or the turns of a chat."""
    if text.startswith('[{"role": '):
        turns: list[dict[str, str]] = json.loads(text)
        return turns
    return text
